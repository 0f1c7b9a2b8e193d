"""The public names, and the package that holds them."""
