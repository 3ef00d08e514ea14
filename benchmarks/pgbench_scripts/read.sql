-- The question behind GET /allocations/<id_commande>, asked for random existing orders.
\set n random(1, :orders)
SELECT sku, réf_lot, quantité, ligne FROM allocations_view
    WHERE id_commande = 'c-' || :n ORDER BY sku, ligne;
