package actor

import "iter"

// states are what a table knows of each route. Nearly all have their filter as
// ID, and those take half the room.
type states struct {
	plain map[string]state
	other map[key]state
}

func newStates() states {
	return states{plain: make(map[string]state), other: make(map[key]state)}
}

func (s states) get(k key) state {
	if k.filter == k.id {
		return s.plain[k.id]
	}
	return s.other[k]
}

func (s states) put(k key, v state) {
	if k.filter == k.id {
		s.plain[k.id] = v
	} else {
		s.other[k] = v
	}
}

func (s states) delete(k key) {
	if k.filter == k.id {
		delete(s.plain, k.id)
	} else {
		delete(s.other, k)
	}
}

func (s states) len() int { return len(s.plain) + len(s.other) }

// all yields all of them. They may be changed meanwhile.
func (s states) all() iter.Seq2[key, state] {
	return func(yield func(key, state) bool) {
		for id, v := range s.plain {
			if !yield(key{id, id}, v) {
				return
			}
		}
		for k, v := range s.other {
			if !yield(k, v) {
				return
			}
		}
	}
}
