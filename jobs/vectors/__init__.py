"""What is stored of the vectors that an engine makes: several columns from one pass (`output.vectors`), each in a form of its own.

form.py       StoredVector: column, dtype, dimensions, scale; as JSON, and what two of them differ in
codec.py      float32 vectors -> stored codes and back; the scale of a sample; NumPy only
choosing.py   what `output.vectors` asks for, resolved against what the engine makes; what is refused there
"""
