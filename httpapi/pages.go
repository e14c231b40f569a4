package httpapi

import "net/http"

// routePages serves the dashboard. Its pages hold no data, so that no key is
// asked for.
func (a *api) routePages() {
	for _, path := range []string{"/", "/index.html", "/assets/{name}", "/assets/{build}/{name}"} {
		a.handle(http.MethodGet, path, a.page)
	}
}

// page leaves the answer to the pages' own handler, and to that what browsers
// are told to do with it: what goes for data does not go for pages.
func (a *api) page(w http.ResponseWriter, r *http.Request) error {
	if a.Pages == nil {
		return a.guard(a.noSuchPath)(w, r)
	}
	w.Header().Del("Content-Security-Policy")
	w.Header().Del("Cache-Control")
	a.Pages.ServeHTTP(w, r)
	return nil
}

func (a *api) noSuchPath(http.ResponseWriter, *http.Request) error {
	return &problem{status: http.StatusNotFound, code: "NOT_FOUND", message: "No such path; GET /sites and GET /cluster/links are good places to begin"}
}
