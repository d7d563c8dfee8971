"""Export: save a model into a folder that `create` can read, or push it to the Hugging Face hub.

save.py         writes the config as JSON, the weights as safetensors, tokenizer files and the model card
model_card.py   the text of the model card, README.md
card_facts.py   the facts that the card states
licences.py     the licence ids of the hub
push_to_hub.py  uploads the same files as one commit
"""
