-- What one allocation writes, in plain SQL, by a client that knows the lot beforehand and checks nothing.
\set n random(1, :articles)
BEGIN;
UPDATE produits SET version = version + 1, dernier_rang = dernier_rang + 1
    WHERE sku = :family || '-' || :n RETURNING sku, dernier_rang AS rang \gset
UPDATE lots SET quantité_allouée = quantité_allouée + 1 WHERE sku = :sku AND référence = 'lot-' || :sku;
INSERT INTO order_lines (sku, id_commande, ligne, quantité, rang)
    VALUES (:sku, 'pgbench-' || :rang, '1', 1, :rang);
INSERT INTO allocations (sku, rang, réf_lot) VALUES (:sku, :rang, 'lot-' || :sku);
INSERT INTO journal (id, type, version, sku, réf_lot, id_commande, ligne, quantité, de, vers, data)
    VALUES (gen_random_uuid(), 'Alloué', 1, :sku, 'lot-' || :sku, 'pgbench-' || :rang, '1', 1, 'libre', 'alloué',
            jsonb_build_object('id_commande', 'pgbench-' || :rang, 'sku', :sku::text, 'quantité', 1,
                               'réf_lot', 'lot-' || :sku, 'ligne', '1'));
COMMIT;
