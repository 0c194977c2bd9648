"""Many images on many machines: shards, the part files they leave behind, and putting these together again.

Every figure depends on its image alone and every sample on its index alone, so work may be cut anywhere, done twice or
in any order; what remains to be kept is which part is whole. Nothing here needs more than a folder that all machines
see; `pvae_zoo.scale.ray_scoring` adds Ray.
"""
