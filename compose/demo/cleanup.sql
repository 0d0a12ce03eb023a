-- The clean-up: removes demo data that have expired, children before parents, in batches, each in a transaction of
-- its own. Load it as a superuser after init.sql. Run it as demo_maintenance, outside of a transaction:
--
--     CALL demo.cleanup();                                       -- seven days before now
--     CALL demo.cleanup(days => 7, at => '2026-12-01 00:00Z');   -- as if it were then: nobody moves a clock
--
-- What it removes: rows of origin `visitor` or `generated` that were made more than `days` times 24 hours before `at`
-- (exactly that old: they stay). An order goes with all its lines and a conversation with all its messages, once the
-- newest part has expired; what something younger still refers to stays until that has gone. `seed` and `kept` are
-- never removed, by the policies of the role as well as by these statements.
-- It may be stopped at any moment and started again; two at once don't wait for each other (SKIP LOCKED). It answers
-- with the rows it removed and with finished = false where max_batches was reached or rows were in use.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL ROLE demo_owner;
CREATE OR REPLACE PROCEDURE demo.cleanup(
    IN days integer DEFAULT 7,
    IN at timestamptz DEFAULT NULL,
    IN batch integer DEFAULT 1000,
    IN max_batches integer DEFAULT 100000,
    INOUT removed bigint DEFAULT 0,
    INOUT finished boolean DEFAULT false
) LANGUAGE plpgsql SECURITY INVOKER AS $procedure$
DECLARE
    cutoff timestamptz;
    step text;
    gone bigint;
    batches integer := 0;
    raced integer;
    steps CONSTANT text[] := ARRAY[
        $$WITH doomed AS MATERIALIZED (
            SELECT m.tenant_id, m.user_id, m.conversation_id, m.position
            FROM demo.messages AS m
            JOIN demo.conversations AS c ON (c.tenant_id, c.user_id, c.id) = (m.tenant_id, m.user_id, m.conversation_id)
            WHERE m.origin IN ('visitor', 'generated') AND m.created_at < $1
              AND (c.origin IN ('seed', 'kept') OR c.created_at < $1 AND NOT EXISTS (
                  SELECT FROM demo.messages AS x
                  WHERE (x.tenant_id, x.user_id, x.conversation_id) = (m.tenant_id, m.user_id, m.conversation_id)
                    AND (x.created_at >= $1 OR x.origin IN ('seed', 'kept'))))
            LIMIT $2 FOR UPDATE OF m SKIP LOCKED)
        DELETE FROM demo.messages AS t USING doomed AS d
        WHERE (t.tenant_id, t.user_id, t.conversation_id, t.position) = (d.tenant_id, d.user_id, d.conversation_id, d.position)$$,
        $$WITH doomed AS MATERIALIZED (
            SELECT l.tenant_id, l.user_id, l.order_id, l.line
            FROM demo.order_lines AS l
            JOIN demo.orders AS o ON (o.tenant_id, o.user_id, o.id) = (l.tenant_id, l.user_id, l.order_id)
            WHERE l.origin IN ('visitor', 'generated') AND l.created_at < $1
              AND (o.origin IN ('seed', 'kept') OR o.created_at < $1 AND NOT EXISTS (
                  SELECT FROM demo.order_lines AS x
                  WHERE (x.tenant_id, x.user_id, x.order_id) = (l.tenant_id, l.user_id, l.order_id)
                    AND (x.created_at >= $1 OR x.origin IN ('seed', 'kept'))))
            LIMIT $2 FOR UPDATE OF l SKIP LOCKED)
        DELETE FROM demo.order_lines AS t USING doomed AS d
        WHERE (t.tenant_id, t.user_id, t.order_id, t.line) = (d.tenant_id, d.user_id, d.order_id, d.line)$$,
        $$WITH doomed AS MATERIALIZED (
            SELECT e.tenant_id, e.user_id, e.id FROM demo.analytics_events AS e
            WHERE e.origin IN ('visitor', 'generated') AND e.created_at < $1
            LIMIT $2 FOR UPDATE OF e SKIP LOCKED)
        DELETE FROM demo.analytics_events AS t USING doomed AS d
        WHERE (t.tenant_id, t.user_id, t.id) = (d.tenant_id, d.user_id, d.id)$$,
        $$WITH doomed AS MATERIALIZED (
            SELECT c.tenant_id, c.user_id, c.id FROM demo.conversations AS c
            WHERE c.origin IN ('visitor', 'generated') AND c.created_at < $1
              AND NOT EXISTS (SELECT FROM demo.messages AS m
                              WHERE (m.tenant_id, m.user_id, m.conversation_id) = (c.tenant_id, c.user_id, c.id))
            LIMIT $2 FOR UPDATE OF c SKIP LOCKED)
        DELETE FROM demo.conversations AS t USING doomed AS d
        WHERE (t.tenant_id, t.user_id, t.id) = (d.tenant_id, d.user_id, d.id)$$,
        $$WITH doomed AS MATERIALIZED (
            SELECT o.tenant_id, o.user_id, o.id FROM demo.orders AS o
            WHERE o.origin IN ('visitor', 'generated') AND o.created_at < $1
              AND NOT EXISTS (SELECT FROM demo.order_lines AS l
                              WHERE (l.tenant_id, l.user_id, l.order_id) = (o.tenant_id, o.user_id, o.id))
            LIMIT $2 FOR UPDATE OF o SKIP LOCKED)
        DELETE FROM demo.orders AS t USING doomed AS d
        WHERE (t.tenant_id, t.user_id, t.id) = (d.tenant_id, d.user_id, d.id)$$,
        $$WITH doomed AS MATERIALIZED (
            SELECT p.tenant_id, p.id FROM demo.products AS p
            WHERE p.origin IN ('visitor', 'generated') AND p.created_at < $1
              AND NOT EXISTS (SELECT FROM demo.order_lines AS l WHERE (l.tenant_id, l.product_id) = (p.tenant_id, p.id))
            LIMIT $2 FOR UPDATE OF p SKIP LOCKED)
        DELETE FROM demo.products AS t USING doomed AS d WHERE (t.tenant_id, t.id) = (d.tenant_id, d.id)$$,
        $$WITH doomed AS MATERIALIZED (
            SELECT u.tenant_id, u.id FROM demo.users AS u
            WHERE u.origin IN ('visitor', 'generated') AND u.created_at < $1
              AND NOT EXISTS (SELECT FROM demo.orders AS o WHERE (o.tenant_id, o.user_id) = (u.tenant_id, u.id))
              AND NOT EXISTS (SELECT FROM demo.conversations AS c WHERE (c.tenant_id, c.user_id) = (u.tenant_id, u.id))
              AND NOT EXISTS (SELECT FROM demo.analytics_events AS e WHERE (e.tenant_id, e.user_id) = (u.tenant_id, u.id))
            LIMIT $2 FOR UPDATE OF u SKIP LOCKED)
        DELETE FROM demo.users AS t USING doomed AS d WHERE (t.tenant_id, t.id) = (d.tenant_id, d.id)$$,
        $$WITH doomed AS MATERIALIZED (
            SELECT n.id FROM demo.tenants AS n
            WHERE n.origin IN ('visitor', 'generated') AND n.created_at < $1
              AND NOT EXISTS (SELECT FROM demo.users AS u WHERE u.tenant_id = n.id)
              AND NOT EXISTS (SELECT FROM demo.products AS p WHERE p.tenant_id = n.id)
            LIMIT $2 FOR UPDATE OF n SKIP LOCKED)
        DELETE FROM demo.tenants AS t USING doomed AS d WHERE t.id = d.id$$
    ];
BEGIN
    IF NOT EXISTS (SELECT FROM demo.identity WHERE environment = 'demo') THEN
        RAISE EXCEPTION 'this database does not say that it is the demo: nothing is removed';
    END IF;
    IF days IS NULL OR days NOT BETWEEN 1 AND 3650 OR batch IS NULL OR batch NOT BETWEEN 1 AND 100000
       OR max_batches IS NULL OR max_batches < 1 THEN
        RAISE EXCEPTION 'days must be 1 to 3650, batch 1 to 100000, max_batches at least 1';
    END IF;
    -- Hours, not days: a day of the time zone has 23 or 25 hours twice a year.
    cutoff := coalesce(at, clock_timestamp()) - make_interval(hours => 24 * days);
    removed := 0;
    finished := true;
    <<work>>
    FOREACH step IN ARRAY steps LOOP
        raced := 0;
        LOOP
            IF batches >= max_batches THEN
                finished := false;
                EXIT work;
            END IF;
            batches := batches + 1;
            PERFORM pg_catalog.set_config('lock_timeout', '5s', true);
            BEGIN
                EXECUTE step USING cutoff, batch;
                GET DIAGNOSTICS gone = ROW_COUNT;
            EXCEPTION
                WHEN foreign_key_violation THEN
                    -- Somebody referred to the row in this very moment: it is in use again.
                    raced := raced + 1;
                    gone := batch;
                WHEN lock_not_available THEN
                    raced := 3;
                    gone := batch;
            END;
            COMMIT;
            IF raced >= 3 THEN
                finished := false;
                EXIT;
            END IF;
            removed := removed + CASE WHEN raced > 0 AND gone = batch THEN 0 ELSE gone END;
            EXIT WHEN gone < batch;
        END LOOP;
    END LOOP;
END $procedure$;
REVOKE ALL ON PROCEDURE demo.cleanup(integer, timestamptz, integer, integer, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE demo.cleanup(integer, timestamptz, integer, integer, bigint, boolean) TO demo_maintenance;
RESET ROLE;
COMMIT;
