"""The mathematics of images: arrays in, arrays out."""
