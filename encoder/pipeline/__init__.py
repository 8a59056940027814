"""From texts to packed batches and back in the caller's order: documents, windows, batches, streams, and the threads that keep a device busy."""
