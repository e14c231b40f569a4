package httpapi

import (
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/mux"
)

// ParseBody is for fuzzing.
var ParseBody = parseBody

// MaxStreams is how many streams of events there may be.
const MaxStreams = maxStreams

// RatesEvents returns what makes one event of figures after another.
func RatesEvents() func([]Observed, time.Time) []byte { return new(meter).event }

// Routes returns each method and path that the API serves, in order; HEAD,
// which goes with GET, is left out.
func Routes() []string {
	a := newAPI(nil, Options{})
	var list []string
	a.router.Walk(func(r *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := r.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := r.GetMethods()
		for _, m := range methods {
			if m != http.MethodHead {
				list = append(list, m+" "+path)
			}
		}
		return err
	})
	slices.Sort(list)
	return list
}
