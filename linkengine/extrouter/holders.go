package extrouter

// holders are the clusters that announced a filter, in the order of their
// numbers. Lists never change, and equal ones are mostly the same: what nearly
// all routes of a cluster have is there once.
type holders struct {
	cluster *cluster
	plain   uint64 // a bit for each actor that announced the filter by its own name
	others  uint32 // how many other route IDs there are for it; see cluster.others
	next    *holders
}

// maxShared is how many lists are remembered in order to be shared.
const maxShared = 4096

// of is the cluster's part of the list, nil if it has none.
func (h *holders) of(c *cluster) *holders {
	for ; h != nil; h = h.next {
		if h.cluster == c {
			return h
		}
	}
	return nil
}

// with is the list with one cluster's part as given, which is left out if there
// is nothing in it.
func (t *Table) with(list *holders, part holders) *holders {
	switch {
	case list != nil && list.cluster.number < part.cluster.number:
		changed := *list
		changed.next = t.with(list.next, part)
		return t.share(changed)
	case list != nil && list.cluster == part.cluster:
		part.next = list.next
	default:
		part.next = list
	}
	if part.plain == 0 && part.others == 0 {
		return part.next
	}
	return t.share(part)
}

func (t *Table) share(h holders) *holders {
	if known := t.shared[h]; known != nil {
		return known
	}
	if len(t.shared) >= maxShared {
		clear(t.shared)
	}
	t.shared[h] = &h
	return &h
}
