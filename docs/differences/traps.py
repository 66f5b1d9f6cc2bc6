"""All rows, in the order of the page's sections."""

from __future__ import annotations

from differences import traps_of_networks, traps_of_pixels

TRAPS = (*traps_of_networks.TRAPS, *traps_of_pixels.TRAPS)
