package broker

import (
	"iter"
	"slices"

	"clink/topic"
)

// A routeMap has a value for each route. Those without a group, nearly all,
// take half the room.
type routeMap[V any] struct {
	plain  map[topic.Filter]V
	shared map[Route]V
}

func newRouteMap[V any]() routeMap[V] {
	return routeMap[V]{make(map[topic.Filter]V), make(map[Route]V)}
}

func (m *routeMap[V]) get(r Route) (V, bool) {
	if r.Group == "" {
		v, ok := m.plain[r.Filter]
		return v, ok
	}
	v, ok := m.shared[r]
	return v, ok
}

func (m *routeMap[V]) put(r Route, v V) {
	if r.Group == "" {
		m.plain[r.Filter] = v
	} else {
		m.shared[r] = v
	}
}

func (m *routeMap[V]) delete(r Route) {
	if r.Group == "" {
		delete(m.plain, r.Filter)
	} else {
		delete(m.shared, r)
	}
}

func (m *routeMap[V]) len() int { return len(m.plain) + len(m.shared) }

func (m *routeMap[V]) keys() iter.Seq[Route] {
	return func(yield func(Route) bool) {
		for f := range m.plain {
			if !yield(Route{Filter: f}) {
				return
			}
		}
		for r := range m.shared {
			if !yield(r) {
				return
			}
		}
	}
}

// A routeSet is the routes of one client. Most clients have few, for which a
// map would be large.
type routeSet struct {
	few  []Route
	many *routeMap[struct{}] // nil while there are few
}

const fewRoutes = 8

// add reports whether the route was not there.
func (s *routeSet) add(r Route) bool {
	if s.has(r) {
		return false
	}
	if s.many == nil && len(s.few) < fewRoutes {
		s.few = append(s.few, r)
		return true
	}
	if s.many == nil {
		m := newRouteMap[struct{}]()
		for _, known := range s.few {
			m.put(known, struct{}{})
		}
		s.few, s.many = nil, &m
	}
	s.many.put(r, struct{}{})
	return true
}

func (s *routeSet) has(r Route) bool {
	if s.many == nil {
		return slices.Contains(s.few, r)
	}
	_, ok := s.many.get(r)
	return ok
}

// remove reports whether the route was there.
func (s *routeSet) remove(r Route) bool {
	if !s.has(r) {
		return false
	}
	if s.many != nil {
		s.many.delete(r)
		return true
	}
	s.few = slices.DeleteFunc(s.few, func(known Route) bool { return known == r })
	return true
}

func (s *routeSet) len() int {
	if s.many != nil {
		return s.many.len()
	}
	return len(s.few)
}

func (s *routeSet) all() iter.Seq[Route] {
	if s.many != nil {
		return s.many.keys()
	}
	return slices.Values(s.few)
}
