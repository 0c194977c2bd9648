"""Many images on one road: what is done to them (a task), where it is done (a place), and what is left (rows or parts).

Every figure depends on its image alone and every sample on its index alone, so work may be cut anywhere, done twice or
in any order; what remains to be kept is which part is whole. Nothing here needs more than a folder that all machines
see; `pvae_zoo.scale.ray_parts` adds Ray.
"""
