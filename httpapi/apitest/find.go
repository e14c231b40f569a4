package apitest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// methods are those that the document may have.
var methods = [...]string{"GET", "POST", "PUT", "DELETE"}

// An operation is one method of one path in the document.
type operation struct {
	method, path string
	what         map[string]any
	at           string // its place in the document
}

// find returns the operation that a request is for. Of several paths that fit,
// it is the one with the most fixed parts.
func (c *Checker) find(r *http.Request) (operation, bool) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if !slices.Contains(methods[:], method) {
		return operation{}, false
	}
	var best operation
	fixed := -1
	for path := range object(c.doc, "paths") {
		item, at := c.resolve(object(c.doc, "paths", path), docURL+"#/paths/"+escape(path))
		what, ok := item[strings.ToLower(method)].(map[string]any)
		if !ok {
			continue
		}
		for _, base := range c.bases(item) {
			if n, ok := fits(base+path, r.URL.EscapedPath()); ok && n > fixed {
				fixed, best = n, operation{method, path, what, at + "/" + strings.ToLower(method)}
			}
		}
	}
	return best, fixed >= 0
}

// bases are the servers of a path, without the slash at their ends.
func (c *Checker) bases(item map[string]any) []string {
	servers, ok := item["servers"].([]any)
	if !ok {
		servers, _ = c.doc["servers"].([]any)
	}
	var list []string
	for _, s := range servers {
		one, _ := s.(map[string]any)
		base, _ := one["url"].(string)
		list = append(list, strings.TrimSuffix(base, "/"))
	}
	return list
}

// fits reports whether a path fits a template, and how many parts are fixed.
// Among as many, those fixed further in front come first.
func fits(template, path string) (int, bool) {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return 0, false
	}
	n := 0
	for i := range want {
		n *= 2
		if strings.HasPrefix(want[i], "{") {
			if got[i] == "" {
				return 0, false
			}
			continue
		}
		if want[i] != got[i] {
			return 0, false
		}
		n++
	}
	return n, true
}

// object follows keys into an object; nil where there is none.
func object(v map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		v, _ = v[k].(map[string]any)
	}
	return v
}

// resolve follows a reference, and says where it leads.
func (c *Checker) resolve(v map[string]any, at string) (map[string]any, string) {
	ref, ok := v["$ref"].(string)
	if !ok {
		return v, at
	}
	keys := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	return object(c.doc, keys...), docURL + ref
}

// escape makes one part of a JSON pointer, as it stands in a URL.
func escape(key string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
}
