"""A document -> chunks that the model takes whole, each with its place in the document. Pure: texts and a counter in, spans out.

cutter.py       Cutter: documents in, chunks out, every one counted with the model's own tokenizer
units.py        a text as small pieces with their tokens, and how good a boundary lies before each
packing.py      units -> spans of at most so many tokens, cut at the best boundary
long_words.py   words that the tokenizer takes for one unknown token
markdown.py     headings and fences, as CommonMark has them
front_matter.py the block of YAML or TOML before the text of a Markdown file
prefix.py       title and headings before a chunk
own_splitter.py spans of the user's own function, under the same checks
late.py         windows that the model reads at once, and chunks in them
ids.py          ids of chunks
alphabet.py     which code points are blanks, ends of sentences and marks: lists of our own, the same in every Python
measure.py      what is asked of a tokenizer
"""
