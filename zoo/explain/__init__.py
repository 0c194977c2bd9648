"""Programs that sample from a bundle without this package: templates, filled in from the bundle's contract.

A program is ``<language>.template`` with the latents of one level or two, ``<language>_one_level.template`` or
``<language>_two_levels.template``, in its middle. `pvae_zoo.explain.program` fills them in.
"""
