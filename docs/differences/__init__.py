"""How large each trap of docs/why-numbers-differ.md is, measured. `make differences` runs it.

What is compared: `trap`, `traps_of_networks`, `traps_of_pixels`, together in `traps`. The wrong ways themselves, in
NumPy: `changes`. `measure` runs them on the sample photos, `page` writes the numbers into both pages.
"""
