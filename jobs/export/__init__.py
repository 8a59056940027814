"""A version of a dataset as files of another kind. One file in `formats/` and one line in FORMATS a format.

    source.py     the rows of a version, in their order, from any row on
    state.py      what is written already, so that an export that was killed goes on; nobody else writes into the folder meanwhile
    exporting.py  checks what the format's reader would refuse, writes what is missing, says what there is
"""

FORMATS = {
    "pinecone": "pinecone:PineconeParquet",
    "pinecone-jsonl": "pinecone:PineconeJsonl",
    "milvus": "milvus:Milvus",
    "elasticsearch": "bulk:Elasticsearch",
    "opensearch": "bulk:OpenSearch",
    "vespa": "vespa:Vespa",
    "npy": "matrix:Npy",
    "fbin": "matrix:Fbin",
    "hf": "rows:HuggingFace",
    "parquet": "rows:Portable",
    "lance": "lance:Lance",
    "delta": "delta:Delta",
    "iceberg": "iceberg:Iceberg",
}
"""Name -> module in `formats/` and class, a Format."""
