"""What the base seed is, to the byte. tests/test_demo_seed.py holds it against compose/demo/seed.sql."""

from collections.abc import Mapping

CATEGORIES = ("Electrónica", "Hogar", "Moda", "Deportes", "Gaming")
ORDER_STATES = ("pendiente", "despachado", "entregado")
USER = "demo@smarterbot.cl"
TIMEZONE = "America/Santiago"
ROWS: Mapping[str, int] = {
    "tenants": 1,
    "users": 1,
    "products": 15,
    "orders": 3,
    "order_lines": 5,
    "conversations": 6,
    "messages": 16,
    "analytics_events": 6,
}
"""Seed rows by table: the specification's 15, 3, 6 and 6, and what belongs to them."""
DIGESTS: Mapping[str, str] = {
    "tenants": "3b0431960cdaa86b40d3c67ff560d55aa90f5ff269c3311f09e52e346511e124",
    "users": "f3c83e0f0062d2ee2e68afc1aa390b49023a766e96d5a0cf405797cc1f6f7196",
    "products": "010c34ced70d4593c73e0c3dca6e71648c1190c39668e07ffa1cf2fd79defb3d",
    "orders": "4bcec467947808adcb7b8304eefef74ea24b93ce30be74ca91bcdc8b0ad414f1",
    "order_lines": "d8c354dbbc07210b1b39f31fdafbeb32902a47967176842d8b53ac7d99ac60c4",
    "conversations": "72cb1a7d4c1eab203bc85b19510f13a46021981f504e5ec5f37ea161b949305f",
    "messages": "2f992f0717040ec65eb1b009984e60c5cb145f484e1168c902b89a0cb649d5ce",
    "analytics_events": "0c8909dd6bb9dd5202922cf6a63e699410e2ebc416854d4d892ded8020d96c5a",
}
"""SHA-256 of each table's seed rows (see smos/demo/verify/seed.py, `digests`)."""
