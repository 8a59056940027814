"""Text to token ids: the folder of a tokenizer, the prompt, limits, counts of tokens kept and dropped."""
