"""The core of DPA: contracts, readers, validation and the transactional load. It never imports Prefect."""
