"""The recorded limits: targets, and the sources by a short name. Data alone; limits.py gives it form.

KB and MB are taken as 1,024 and 1,048,576 bytes where a source does not say. Sizes of metadata are those of its compact JSON in UTF-8.
"""

from __future__ import annotations

from typing import Any

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30
STUDY = "2026-11-27"  # when the project's study read or tried it
LOOKED_UP = "2026-11-28"  # read in the named page afterwards; not part of the study, so unconfirmed

# short name -> (where, date, confirmed)
SOURCES: dict[str, tuple[str, str, bool]] = {
    "pinecone-import": ("docs.pinecone.io guides/index-data/import-data", STUDY, True),
    "pinecone-limitations": ("docs.pinecone.io reference/known-limitations", LOOKED_UP, False),
    "pinecone-upsert": ("docs.pinecone.io guides/index-data/upsert-data", STUDY, False),
    "pinecone-ascii": ("the server's answer \"Vector ID must be ASCII\", in tests of pinecone-python-client", LOOKED_UP, False),
    "milvus-reader": ("milvus importutilv2/parquet/util.go, PR #49683", STUDY, True),
    "milvus-import": ("milvus PR #31542", STUDY, True),
    "milvus-limits": ("milvus.io/docs/limitations.md", LOOKED_UP, False),
    "pymilvus-writer": ("pymilvus bulk_writer/constants.py", STUDY, True),
    "elastic-vector": ("elasticsearch dense-vector.md", STUDY, True),
    "elastic-id": ("elastic.co docs/reference/elasticsearch/mapping-reference/mapping-id-field", LOOKED_UP, False),
    "elastic-http": ("elastic/elasticsearch issue #138758: 100 MB a request", LOOKED_UP, False),
    "opensearch-vector": ("OpenSearch knn-vector.md", STUDY, True),
    "opensearch-dimensions": ("opensearch-project/k-NN PR #1346", LOOKED_UP, False),
    "opensearch-id": ("docs.opensearch.org/3.9/mappings/metadata-fields/id", LOOKED_UP, False),
    "weaviate-ids": ("weaviate docs manage-objects/import.mdx", STUDY, True),
    "weaviate-names": ("weaviate entities/schema/validation.go", LOOKED_UP, False),
    "vespa-feed": ("docs.vespa.ai document-json-format", STUDY, True),
    "azure-push": ("learn.microsoft.com azure/search/search-limits-quotas-capacity", STUDY, False),
    "azure-names": ("Accenture, Publish to Azure Search: limits of the service", LOOKED_UP, False),
    "s3-limits": ("docs.aws.amazon.com AmazonS3/latest/userguide/s3-vectors-limitations.html", LOOKED_UP, False),
    "s3-keys": ("docs.aws.amazon.com AmazonS3/latest/userguide/s3-vectors-vectors.html", LOOKED_UP, False),
    "pgvector-index": ("supabase.com/docs/guides/ai/vector-indexes (pgvector 0.7 and newer)", LOOKED_UP, False),
    "postgres-text": ("sqlines.com informix-to-postgresql/zero_char_code_in_string", LOOKED_UP, False),
    "qdrant-ids": ("qdrant-edge-py 0.9.0, tried here", STUDY, True),
    "qdrant-dimensions": ("qdrant.tech/documentation/faq/qdrant-fundamentals", LOOKED_UP, False),
    "qdrant-upload": ("qdrant-client: Datatype, and upload_collection's own batch size", STUDY, True),
    "chroma": ("chromadb 1.5.9, tried here", STUDY, True),
    "faiss": ("faiss-cpu 1.15.1, tried here", STUDY, True),
    "usearch": ("usearch 2.26.6, tried here", STUDY, True),
    "lancedb": ("lancedb 0.40.0, tried here", STUDY, True),
    "duckdb": ("duckdb 1.5.5 with vss, tried here", STUDY, True),
}

FLAT = ("string", "number", "boolean", "list of strings")
FLOATS = ("float32", "float16")
UUID5 = "`output.id: uuid5` makes a column of stable UUIDs"
UUID_GIVEN = "loading gives each the UUID that follows from it (version 5) and keeps the id in the payload"
HASHED = "loading keeps a table from each id to a 63-bit key"

Rows = tuple[tuple[Any, ...], ...]
_PINECONE: Rows = (
    ("id_characters", 512, "pinecone-import"),
    ("id_ascii", True, "pinecone-ascii"),
    ("dimensions", 20_000, "pinecone-import"),
    ("dtypes", ("float32",), "pinecone-import"),
    ("metadata_bytes", 40 * KB, "pinecone-import"),
    ("metadata_types", FLAT, "pinecone-limitations"),
)
_ELASTIC_VALUES: Rows = (("nonzero_vectors", True, "elastic-vector"), ("batch_bytes", 100 * MB, "elastic-http"))
_MILVUS_FIELDS: Rows = (
    ("dimensions", 32_768, "milvus-limits"),
    ("id_bytes", 65_535, "milvus-limits"),
    ("string_bytes", 65_535, "milvus-limits"),
    ("field_names", "[A-Za-z_][A-Za-z0-9_]{0,254}", "milvus-limits"),
    ("fields", 64, "milvus-limits"),
)

# target -> (title, rows of (rule, value, source, and a remedy where rows beyond it are converted))
TARGETS: dict[str, tuple[str, Rows]] = {
    "pinecone": (
        "Pinecone, Parquet import",
        (*_PINECONE, ("file_bytes", 10 * GB, "pinecone-import"), ("files", 100_000, "pinecone-import"), ("rows", 100_000_000, "pinecone-import")),
    ),
    "pinecone-jsonl": (
        "Pinecone, JSONL for document-schema indexes",
        (*_PINECONE, ("batch_rows", 1_000, "pinecone-upsert"), ("batch_bytes", 2 * MB, "pinecone-upsert")),
    ),
    "milvus": ("Milvus", (*_MILVUS_FIELDS, ("dtypes", (*FLOATS, "ubinary"), "milvus-reader"), ("batch_bytes", 64 * MB, "milvus-limits"))),
    "milvus-import": (
        "Milvus and Zilliz, bulk import",
        (
            *_MILVUS_FIELDS, ("dtypes", (*FLOATS, "int8", "ubinary"), "milvus-reader"),
            ("file_bytes", 16 * GB, "milvus-import"), ("files", 1_024, "milvus-import"), ("row_group_bytes", 32 * MB, "pymilvus-writer"),
        ),
    ),
    "elasticsearch": (
        "Elasticsearch",
        (
            ("id_bytes", 512, "elastic-id"), ("dimensions", 4_096, "elastic-vector"), ("dtypes", ("float32", "int8", "ubinary"), "elastic-vector"),
            *_ELASTIC_VALUES,
        ),
    ),
    "opensearch": (
        "OpenSearch",
        (
            ("id_bytes", 512, "opensearch-id"), ("dimensions", 16_000, "opensearch-dimensions"), ("dtypes", ("float32", "int8"), "opensearch-vector"),
        ),
    ),
    "weaviate": (
        "Weaviate",
        (
            ("id_uuid", "UUID", "weaviate-ids", UUID5), ("field_names", "[_A-Za-z][_0-9A-Za-z]{0,230}", "weaviate-names"),
            ("reserved_fields", ("_additional", "_id", "id"), "weaviate-names"), ("dtypes", ("float32",), "weaviate-ids"),
        ),
    ),
    "vespa": ("Vespa", (("dtypes", ("float32", "int8", "ubinary"), "vespa-feed"),)),
    "azure": (
        "Azure AI Search",
        (
            ("id_pattern", "[A-Za-z0-9_=-]+", "azure-names", "encode them, URL-safe base64 for instance"),
            ("field_names", "[A-Za-z][A-Za-z0-9_]*", "azure-names"),
            ("dtypes", ("float32", "float16", "int8", "ubinary"), "azure-push"),
            ("batch_rows", 1_000, "azure-push"),
            ("batch_bytes", 16 * MB, "azure-push"),
        ),
    ),
    "s3vectors": (
        "Amazon S3 Vectors",
        (
            ("id_characters", 1_024, "s3-keys"), ("dimensions", 4_096, "s3-limits"), ("dtypes", ("float32",), "s3-limits"),
            ("metadata_bytes", 40 * KB, "s3-limits"), ("fields", 50, "s3-limits"),
            ("filterable_bytes", 2 * KB, "s3-limits", "declare the long ones as non-filterable keys, at most 10 an index"),
            ("batch_rows", 500, "s3-limits"), ("batch_bytes", 20 * MB, "s3-limits"), ("rows_per_s", 2_500, "s3-limits"), ("rows", 2_000_000_000, "s3-limits"),
        ),
    ),
    "postgresql": (
        "PostgreSQL with pgvector",
        (
            ("dtypes", ("float32", "float16", "ubinary"), "pgvector-index"), ("text_without_nul", True, "postgres-text"),
            ("dimensions_float32", 2_000, "pgvector-index", "the table takes them, an index does not: use a float16 column"),
            ("dimensions_float16", 4_000, "pgvector-index", "the table takes them, an index does not: use a ubinary column"),
        ),
    ),
    "lancedb": ("LanceDB", (("dtypes", ("float32", "float16", "ubinary"), "lancedb"),)),
    "qdrant": (
        "Qdrant",
        (
            ("id_uuid", "UUID or unsigned integer", "qdrant-ids", UUID_GIVEN),
            ("dimensions", 65_535, "qdrant-dimensions"), ("dtypes", FLOATS, "qdrant-upload"), ("batch_rows", 64, "qdrant-upload"),
        ),
    ),
    "chroma": ("Chroma", (("dtypes", ("float32",), "chroma"), ("batch_rows", 5_461, "chroma"))),
    "faiss": ("FAISS", (("id_integer", 63, "faiss", HASHED), ("dtypes", ("float32", "ubinary"), "faiss"))),
    "usearch": ("usearch", (("id_integer", 64, "usearch", HASHED), ("dtypes", ("float32", "float16", "int8", "ubinary"), "usearch"))),
    "duckdb": ("DuckDB with vss", (("dtypes", ("float32",), "duckdb"),)),
}  # fmt: skip
