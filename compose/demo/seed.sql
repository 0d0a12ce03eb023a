-- The demo's base seed: one shop, its user demo@smarterbot.cl, 15 products, 3 orders, 6 conversations, 6 events.
-- Run it as demo_seeder (the container does) or as a superuser, as often as you like: a second run writes nothing, and
-- what an operator changed or deleted comes back. The base seed is kept: visitors can't change it, the clean-up never
-- removes it. Every value is fixed, so every demo is the same to the byte (smos/demo/expected.py holds its digests).
-- People, companies and RUTs are invented; the RUTs' check digits are right. Prices in CLP, IVA included.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL client_encoding = 'UTF8';

INSERT INTO demo.tenants AS t (id, name, rut, region, origin, created_at) VALUES
    ('d3300000-0000-4000-8000-000000000001', 'Tienda Demo SmarterBot SpA', '76543210-3', 'Región Metropolitana de Santiago', 'seed', '2026-03-01 09:00:00-03')
ON CONFLICT (id) DO UPDATE SET
    (name, rut, region, origin, created_at) =
    (EXCLUDED.name, EXCLUDED.rut, EXCLUDED.region, EXCLUDED.origin, EXCLUDED.created_at)
    WHERE (t.name, t.rut, t.region, t.origin, t.created_at) IS DISTINCT FROM
          (EXCLUDED.name, EXCLUDED.rut, EXCLUDED.region, EXCLUDED.origin, EXCLUDED.created_at);

INSERT INTO demo.users AS t (tenant_id, id, email, full_name, rut, phone, comuna, origin, created_at) VALUES
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'demo@smarterbot.cl', 'Camila Muñoz Águila', '15678432-K', '+56912345678', 'Ñuñoa', 'seed', '2026-03-01 09:00:00-03')
ON CONFLICT (tenant_id, id) DO UPDATE SET
    (email, full_name, rut, phone, comuna, origin, created_at) =
    (EXCLUDED.email, EXCLUDED.full_name, EXCLUDED.rut, EXCLUDED.phone, EXCLUDED.comuna, EXCLUDED.origin, EXCLUDED.created_at)
    WHERE (t.email, t.full_name, t.rut, t.phone, t.comuna, t.origin, t.created_at) IS DISTINCT FROM
          (EXCLUDED.email, EXCLUDED.full_name, EXCLUDED.rut, EXCLUDED.phone, EXCLUDED.comuna, EXCLUDED.origin, EXCLUDED.created_at);

INSERT INTO demo.products AS t (tenant_id, id, sku, name, category, price, stock, origin, created_at) VALUES
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000201', 'ELE-001', 'Audífonos inalámbricos Andes', 'Electrónica', 39990, 40, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000202', 'ELE-002', 'Cargador solar portátil Atacama', 'Electrónica', 27990, 25, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000203', 'ELE-003', 'Parlante Bluetooth Ñandú', 'Electrónica', 34990, 18, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000204', 'HOG-001', 'Tetera eléctrica Llanquihue', 'Hogar', 24990, 30, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000205', 'HOG-002', 'Juego de sábanas Chiloé, 2 plazas', 'Hogar', 32990, 22, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000206', 'HOG-003', 'Lámpara de mesa Valparaíso', 'Hogar', 19990, 15, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000207', 'MOD-001', 'Poncho de lana Temuco', 'Moda', 54990, 12, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000208', 'MOD-002', 'Zapatillas urbanas Ñuñoa', 'Moda', 44990, 35, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000209', 'MOD-003', 'Parka impermeable Magallanes', 'Moda', 79990, 10, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000210', 'DEP-001', 'Balón de fútbol Cóndor Nº 5', 'Deportes', 16990, 50, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000211', 'DEP-002', 'Colchoneta de yoga Elqui', 'Deportes', 14990, 45, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000212', 'DEP-003', 'Bicicleta de montaña Cajón del Maipo', 'Deportes', 329990, 5, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000213', 'GAM-001', 'Teclado mecánico Pudú', 'Gaming', 49990, 20, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000214', 'GAM-002', 'Silla ergonómica Torres del Paine', 'Gaming', 189990, 8, 'seed', '2026-03-01 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000215', 'GAM-003', 'Mouse óptico Güiña', 'Gaming', 29990, 28, 'seed', '2026-03-01 09:00:00-03')
ON CONFLICT (tenant_id, id) DO UPDATE SET
    (sku, name, category, price, stock, origin, created_at) =
    (EXCLUDED.sku, EXCLUDED.name, EXCLUDED.category, EXCLUDED.price, EXCLUDED.stock, EXCLUDED.origin, EXCLUDED.created_at)
    WHERE (t.sku, t.name, t.category, t.price, t.stock, t.origin, t.created_at) IS DISTINCT FROM
          (EXCLUDED.sku, EXCLUDED.name, EXCLUDED.category, EXCLUDED.price, EXCLUDED.stock, EXCLUDED.origin, EXCLUDED.created_at);

INSERT INTO demo.orders AS t (tenant_id, user_id, id, number, state, address, comuna, origin, created_at) VALUES
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000301', 'PED-0001', 'pendiente', 'Av. Irarrázaval 3450, depto. 82', 'Ñuñoa', 'seed', '2026-03-02 10:15:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000302', 'PED-0002', 'despachado', 'Av. Irarrázaval 3450, depto. 82', 'Ñuñoa', 'seed', '2026-03-09 18:40:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000303', 'PED-0003', 'entregado', 'Cerro Alegre, Pasaje Gálvez 12', 'Valparaíso', 'seed', '2026-04-13 12:05:00-04')
ON CONFLICT (tenant_id, user_id, id) DO UPDATE SET
    (number, state, address, comuna, origin, created_at) =
    (EXCLUDED.number, EXCLUDED.state, EXCLUDED.address, EXCLUDED.comuna, EXCLUDED.origin, EXCLUDED.created_at)
    WHERE (t.number, t.state, t.address, t.comuna, t.origin, t.created_at) IS DISTINCT FROM
          (EXCLUDED.number, EXCLUDED.state, EXCLUDED.address, EXCLUDED.comuna, EXCLUDED.origin, EXCLUDED.created_at);

INSERT INTO demo.order_lines AS t (tenant_id, user_id, order_id, line, product_id, quantity, unit_price, origin, created_at) VALUES
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000301', 1, 'd3300000-0000-4000-8000-000000000201', 1, 39990, 'seed', '2026-03-02 10:15:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000301', 2, 'd3300000-0000-4000-8000-000000000215', 1, 29990, 'seed', '2026-03-02 10:15:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000302', 1, 'd3300000-0000-4000-8000-000000000205', 2, 32990, 'seed', '2026-03-09 18:40:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000302', 2, 'd3300000-0000-4000-8000-000000000204', 1, 24990, 'seed', '2026-03-09 18:40:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000303', 1, 'd3300000-0000-4000-8000-000000000212', 1, 329990, 'seed', '2026-04-13 12:05:00-04')
ON CONFLICT (tenant_id, user_id, order_id, line) DO UPDATE SET
    (product_id, quantity, unit_price, origin, created_at) =
    (EXCLUDED.product_id, EXCLUDED.quantity, EXCLUDED.unit_price, EXCLUDED.origin, EXCLUDED.created_at)
    WHERE (t.product_id, t.quantity, t.unit_price, t.origin, t.created_at) IS DISTINCT FROM
          (EXCLUDED.product_id, EXCLUDED.quantity, EXCLUDED.unit_price, EXCLUDED.origin, EXCLUDED.created_at);

INSERT INTO demo.conversations AS t (tenant_id, user_id, id, channel, subject, origin, created_at) VALUES
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000401', 'whatsapp', '¿Dónde está mi pedido?', 'seed', '2026-03-10 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000402', 'web', 'Talla de las zapatillas', 'seed', '2026-03-11 21:30:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000403', 'instagram', 'Cambio de la parka', 'seed', '2026-03-16 16:20:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000404', 'whatsapp', 'Boleta o factura', 'seed', '2026-04-06 11:45:00-04'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000405', 'web', 'Garantía del teclado', 'seed', '2026-04-14 14:10:00-04'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000406', 'whatsapp', 'Hablar con una persona', 'seed', '2026-05-04 17:55:00-04')
ON CONFLICT (tenant_id, user_id, id) DO UPDATE SET
    (channel, subject, origin, created_at) =
    (EXCLUDED.channel, EXCLUDED.subject, EXCLUDED.origin, EXCLUDED.created_at)
    WHERE (t.channel, t.subject, t.origin, t.created_at) IS DISTINCT FROM
          (EXCLUDED.channel, EXCLUDED.subject, EXCLUDED.origin, EXCLUDED.created_at);

INSERT INTO demo.messages AS t (tenant_id, user_id, conversation_id, position, author, body, origin, created_at) VALUES
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000401', 1, 'cliente', 'Hola, ¿dónde está mi pedido PED-0002?', 'seed', '2026-03-10 09:00:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000401', 2, 'bot', '¡Hola, Camila! Salió de la bodega de Quilicura y llega mañana a Ñuñoa.', 'seed', '2026-03-10 09:00:20-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000401', 3, 'cliente', '¡Súper, gracias!', 'seed', '2026-03-10 09:00:40-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000402', 1, 'cliente', '¿Las zapatillas Ñuñoa vienen en talla 38?', 'seed', '2026-03-11 21:30:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000402', 2, 'bot', 'Sí, quedan 4 pares en talla 38. ¿Te las dejo en el carrito?', 'seed', '2026-03-11 21:30:20-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000403', 1, 'cliente', 'La parka Magallanes me quedó chica, ¿puedo cambiarla?', 'seed', '2026-03-16 16:20:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000403', 2, 'bot', 'Claro: tienes 10 días para cambiarla en cualquier tienda.', 'seed', '2026-03-16 16:20:20-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000403', 3, 'cliente', '¿También en Concepción?', 'seed', '2026-03-16 16:20:40-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000403', 4, 'bot', 'Sí, en Concepción y en Viña del Mar.', 'seed', '2026-03-16 16:20:60-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000404', 1, 'cliente', 'Necesito factura para mi empresa.', 'seed', '2026-04-06 11:45:00-04'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000404', 2, 'bot', 'Dime el RUT y el giro, y la emito al tiro.', 'seed', '2026-04-06 11:45:20-04'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000405', 1, 'cliente', 'El teclado Pudú no enciende 😟', 'seed', '2026-04-14 14:10:00-04'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000405', 2, 'bot', 'Lo siento mucho. La garantía es de 6 meses; coordino el retiro sin costo.', 'seed', '2026-04-14 14:10:20-04'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000406', 1, 'cliente', 'Quiero hablar con una persona, por favor.', 'seed', '2026-05-04 17:55:00-04'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000406', 2, 'bot', 'Te derivo con un ejecutivo.', 'seed', '2026-05-04 17:55:20-04'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000406', 3, 'ejecutivo', 'Hola, soy Ignacio Núñez. ¿En qué te ayudo?', 'seed', '2026-05-04 17:55:40-04')
ON CONFLICT (tenant_id, user_id, conversation_id, position) DO UPDATE SET
    (author, body, origin, created_at) =
    (EXCLUDED.author, EXCLUDED.body, EXCLUDED.origin, EXCLUDED.created_at)
    WHERE (t.author, t.body, t.origin, t.created_at) IS DISTINCT FROM
          (EXCLUDED.author, EXCLUDED.body, EXCLUDED.origin, EXCLUDED.created_at);

INSERT INTO demo.analytics_events AS t (tenant_id, user_id, id, kind, properties, origin, created_at) VALUES
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000501', 'visita', '{"pagina": "/", "ciudad": "Santiago"}', 'seed', '2026-03-02 10:02:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000502', 'vista_producto', '{"sku": "ELE-001"}', 'seed', '2026-03-02 10:05:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000503', 'carrito', '{"sku": "ELE-001", "cantidad": 1}', 'seed', '2026-03-02 10:08:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000504', 'pago', '{"medio": "Webpay", "monto": 69980}', 'seed', '2026-03-02 10:14:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000505', 'compra', '{"pedido": "PED-0001", "monto": 69980}', 'seed', '2026-03-02 10:15:00-03'),
    ('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101', 'd3300000-0000-4000-8000-000000000506', 'derivacion', '{"canal": "whatsapp", "motivo": "atención"}', 'seed', '2026-05-04 17:56:00-04')
ON CONFLICT (tenant_id, user_id, id) DO UPDATE SET
    (kind, properties, origin, created_at) =
    (EXCLUDED.kind, EXCLUDED.properties, EXCLUDED.origin, EXCLUDED.created_at)
    WHERE (t.kind, t.properties, t.origin, t.created_at) IS DISTINCT FROM
          (EXCLUDED.kind, EXCLUDED.properties, EXCLUDED.origin, EXCLUDED.created_at);
COMMIT;
