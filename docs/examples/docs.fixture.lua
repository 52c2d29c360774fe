-- The VM of examples that do not say where theirs comes from.
return provium:vm("docs", "small"):boot()
