"""From texts to the text tower's input. Its libraries are imported when a tokenizer is made."""
