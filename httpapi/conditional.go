package httpapi

import (
	"net/http"
	"slices"
	"strings"
)

// tags returns the revisions in an If-Match or If-None-Match header, in order;
// any means "*". A weak tag counts as its strong one: what stands in front of
// clinkd may have weakened it, and a revision never means two things.
func tags(header []string) (list []string, any bool, err error) {
	for _, part := range strings.Split(strings.Join(header, ","), ",") {
		part = strings.TrimSpace(part)
		tag := strings.TrimPrefix(part, "W/")
		switch {
		case part == "":
		case part == "*":
			any = true
		case len(tag) > 2 && len(tag) <= 130 && tag[0] == '"' && strings.IndexByte(tag[1:], '"') == len(tag)-2:
			list = append(list, tag[1:len(tag)-1])
		default:
			return nil, false, bad(`If-Match and If-None-Match take entity tags in double quotes, such as the ETag of a GET, or *`)
		}
	}
	if any && len(list) > 0 {
		return nil, false, bad("If-Match and If-None-Match take either * or entity tags")
	}
	return list, any, nil
}

// ifMatch returns the revision that a write is made on, "" for any. Of several
// it is the one that the source is at.
func (a *api) ifMatch(r *http.Request, site string) (string, error) {
	if len(r.Header.Values("If-None-Match")) > 0 {
		return "", bad("If-None-Match is not taken on writes; POST creates a link and never changes one, If-Match changes only what you have seen")
	}
	list, _, err := tags(r.Header.Values("If-Match"))
	if err != nil || len(list) == 0 {
		return "", err
	}
	for _, current := range []string{a.store.State().Revision, a.inForce(site)} {
		if slices.Contains(list, current) {
			return current, nil
		}
	}
	return list[len(list)-1], nil
}

// unchanged answers a conditional GET of what depends on nothing but tag, and
// sets the ETag.
func unchanged(w http.ResponseWriter, r *http.Request, tag string) bool {
	setTag(w, tag)
	list, any, err := tags(r.Header.Values("If-None-Match"))
	if err != nil || tag == "" || !any && !slices.Contains(list, tag) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// setTag sets the ETag, unless there is no revision yet.
func setTag(w http.ResponseWriter, revision string) {
	if revision != "" {
		w.Header().Set("ETag", `"`+revision+`"`)
	}
}
