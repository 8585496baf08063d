"""What the DRDM module of 3D Slicer is made of."""
