-- The built-in source of the point-in-time drill: what an application writes, and the markers of the drill.
CREATE SCHEMA smos;
CREATE TABLE smos.marker (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
COMMENT ON TABLE smos.marker IS 'Rows committed before and after the moment that is recovered to';
CREATE SCHEMA app;
CREATE TABLE app.products (id integer PRIMARY KEY, sku text NOT NULL UNIQUE, price integer NOT NULL CHECK (price > 0));
CREATE TABLE app.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id integer NOT NULL REFERENCES app.products,
    buyer text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX orders_by_buyer ON app.orders (buyer, placed_at);
CREATE TABLE app.invoices (order_id bigint PRIMARY KEY, folio text NOT NULL) TABLESPACE archive;
CREATE UNLOGGED TABLE app.sessions (token text PRIMARY KEY);
-- Never changed again, and without an index: what is lost of it, neither the log brings back nor an index misses.
CREATE TABLE app.holidays (day date, name text);
INSERT INTO app.holidays SELECT date '2026-01-01' + i, 'Virgen de la Tirana ' || i FROM generate_series(1, 400) AS i;
INSERT INTO app.products SELECT i, 'SKU-' || i, 990 + i FROM generate_series(1, 200) AS i;
INSERT INTO app.orders (product_id, buyer, quantity)
    SELECT 1 + i % 200, 'Compañía Ñuñoa ' || i % 97, 1 + i % 5 FROM generate_series(1, 4000) AS i;
INSERT INTO app.invoices SELECT id, 'F-' || id FROM app.orders;
INSERT INTO app.sessions SELECT 't' || i FROM generate_series(1, 10) AS i;
