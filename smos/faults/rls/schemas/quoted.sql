-- ORM style: camelCase identifiers, some with spaces and quotes; the company comes straight from the claims of a JWT.
CREATE ROLE qu_owner NOLOGIN;
CREATE ROLE "qu Web App" LOGIN;
CREATE SCHEMA "My ""App""" AUTHORIZATION qu_owner;
SET ROLE qu_owner;
CREATE DOMAIN "My ""App"""."Email Address" AS varchar(120) CHECK (VALUE LIKE '%_@_%' AND lower(VALUE) = VALUE);
CREATE DOMAIN "My ""App"""."Percent" AS numeric(5,2) NOT NULL DEFAULT 0 CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE "My ""App"""."Company" (
    "companyId" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "legal Name" text NOT NULL,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "My ""App"""."User" (
    "id" bigint GENERATED ALWAYS AS IDENTITY, "companyId" bigint NOT NULL, "e-mail" "My ""App"""."Email Address" NOT NULL,
    "firstName" text NOT NULL, "lastName" text NOT NULL,
    "full name" text GENERATED ALWAYS AS ("firstName" || ' ' || "lastName") STORED,
    PRIMARY KEY ("companyId", "id"), FOREIGN KEY ("companyId") REFERENCES "My ""App"""."Company" ("companyId") ON DELETE CASCADE);
CREATE UNIQUE INDEX "User_email_key" ON "My ""App"""."User" ("companyId", lower("e-mail"));
CREATE TABLE "My ""App"""."Order Item's" (
    "companyId" bigint NOT NULL, "item ""No""" int NOT NULL CHECK ("item ""No""" BETWEEN 1 AND 9999), "soldBy" bigint,
    "price$" numeric(12,2) NOT NULL CHECK ("price$" >= 0), "discount %" "My ""App"""."Percent",
    "net" numeric GENERATED ALWAYS AS ("price$" - "price$" * "discount %" / 100) STORED, "select" boolean DEFAULT false,
    PRIMARY KEY ("companyId", "item ""No"""),
    FOREIGN KEY ("companyId", "soldBy") REFERENCES "My ""App"""."User" ("companyId", "id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "My ""App"""."Folder" (
    "companyId" bigint NOT NULL REFERENCES "My ""App"""."Company", "id" int NOT NULL, "parentId" int NOT NULL, "title" text NOT NULL,
    PRIMARY KEY ("companyId", "id"),
    FOREIGN KEY ("companyId", "parentId") REFERENCES "My ""App"""."Folder" ("companyId", "id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "My ""App"""."Booking" (
    "companyId" bigint NOT NULL REFERENCES "My ""App"""."Company", "room" int NOT NULL, "during" tstzrange NOT NULL,
    EXCLUDE USING gist (int8range("companyId", "companyId", '[]') WITH &&, int4range("room", "room", '[]') WITH &&, "during" WITH &&));
CREATE INDEX ON "My ""App"""."Booking" ("companyId");
DO $do$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['Company', 'User', 'Order Item''s', 'Folder', 'Booking'] LOOP
        EXECUTE format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY', 'My "App"', t);
        EXECUTE format('ALTER TABLE %I.%I FORCE ROW LEVEL SECURITY', 'My "App"', t);
        EXECUTE format('CREATE POLICY "Own company; only" ON %I.%I TO "qu Web App"
            USING ("companyId" = (NULLIF(current_setting(''request.jwt.claims'', true), '''')::json->>''companyId'')::bigint)', 'My "App"', t);
    END LOOP;
END $do$;
CREATE VIEW "My ""App"""."Sold Items" WITH (security_invoker) AS
    SELECT i.*, u."full name" FROM "My ""App"""."Order Item's" AS i JOIN "My ""App"""."User" AS u
        ON u."companyId" = i."companyId" AND u."id" = i."soldBy";
GRANT USAGE ON SCHEMA "My ""App""" TO "qu Web App";
GRANT SELECT, INSERT, UPDATE, DELETE ON "My ""App"""."User", "My ""App"""."Order Item's", "My ""App"""."Folder", "My ""App"""."Booking"
    TO "qu Web App";
GRANT SELECT ON "My ""App"""."Company", "My ""App"""."Sold Items" TO "qu Web App";
RESET ROLE;
