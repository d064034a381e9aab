"""sanche: a hub by which a province's agencies share data that its drivers, couriers and riders agreed to share."""
