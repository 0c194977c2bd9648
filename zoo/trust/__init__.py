"""Bundles that nobody vouches for: looked into, tried under limits, and only then loaded.

A bundle whose config has a hash of the registry is pinned and loads as it is. Any other one passes, in this order, the
bounds of its config (`pvae_zoo.trust.configuration`), and then, in a process of its own with little memory and time
(`pvae_zoo.trust.trial`), those of its golden vectors (`pvae_zoo.trust.vectors`) and of its graphs
(`pvae_zoo.trust.screening`), and a run of everything. `pvae_zoo.trust.admission` puts them together.

No file of a bundle is unpickled, no library that it names is loaded, and no path that it names is opened.
"""
