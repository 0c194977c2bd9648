"""A bundle explained to whoever has not this package, from its contract alone.

`pvae_zoo.explain.tensors` says what goes into the graphs, `pvae_zoo.explain.guide` how they are driven, and
`pvae_zoo.explain.program` writes programs that sample: templates, filled in.

A program is ``<language>.template`` with the latents of one level or two, ``<language>_one_level.template`` or
``<language>_two_levels.template``, in its middle. `pvae_zoo.explain.program` fills them in.
"""
