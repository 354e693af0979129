"""What is shipped beside the code: the image, the list of what is in it, and the workflows that release it.

Tests here are fast. `make image-check` builds the image for real and runs `check_image.py` against it, which takes
minutes and root, so that `make test` leaves it out.
"""
