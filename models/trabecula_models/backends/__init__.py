"""What finds the vertebrae in a CT: the built-in networks, or a model that the site has installed. One file each, one registry."""
