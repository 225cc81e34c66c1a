"""Networks that find, outline and name the vertebrae, and everything to train and judge them."""
