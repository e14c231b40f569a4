package extrouter

// Empty reports whether nothing is left of any route.
func (t *Table) Empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.clusters {
		if c.routes != 0 || c.bytes != 0 || c.levels != 0 || len(c.others) != 0 {
			return false
		}
		for _, a := range c.actors {
			if a.routes != 0 {
				return false
			}
		}
	}
	return t.exact.live == 0 && t.levels.live == 0 && t.root.kids == 0 && t.root.below.Load() == nil
}
