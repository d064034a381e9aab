"""sanche: a hub where agencies share what drivers, couriers and riders agreed to share."""
