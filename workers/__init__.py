"""Workers: the processes that own devices, their engines, and how work reaches them."""
