"""From a picture to the image tower's input; over torchvision, which is imported when the first picture comes."""
