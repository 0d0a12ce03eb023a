"""A small HTTP front for the ClickHouse engine in process (chdb): enough for collectors and clients.

It runs as a private process of its own and imports nothing of smos, so that the service user can run it from a
copy. What it speaks is ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http): queries by
GET and POST, settings and parameters in the URL, authentication, compressed bodies, streamed inserts.
"""
