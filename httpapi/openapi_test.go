package httpapi_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"clink/httpapi"
	"clink/httpapi/apitest"
)

// exchanges are the operations and statuses that the tests have met.
var exchanges sync.Map

func met(what string) { exchanges.Store(what, true) }

func TestMain(m *testing.M) {
	status := m.Run()
	if missing := unmet(); status == 0 && wholeSuite() && len(missing) > 0 {
		fmt.Printf("no test has met these, which the OpenAPI document has:\n%s\n", strings.Join(missing, "\n"))
		status = 1
	}
	os.Exit(status)
}

func wholeSuite() bool {
	for _, name := range []string{"test.run", "test.skip", "test.fuzz", "test.list"} {
		if f := flag.Lookup(name); f == nil || f.Value.String() != "" {
			return false
		}
	}
	return true
}

// unmet returns the operations that no test has seen succeed, and the
// statuses that no test has seen at all.
func unmet() []string {
	succeeded, statuses := map[string]bool{}, map[string]bool{}
	note := func(what string, seen bool) {
		i := strings.LastIndexByte(what, ' ')
		op, status := what[:i], what[i+1:]
		statuses["status "+status] = statuses["status "+status] || seen
		succeeded[op] = succeeded[op] || seen && status < "400"
	}
	for _, what := range apitest.New(new(testing.T), nil).Operations() {
		note(what, false)
	}
	exchanges.Range(func(what, _ any) bool { note(what.(string), true); return true })
	var missing []string
	for _, all := range []map[string]bool{succeeded, statuses} {
		for what, seen := range all {
			if !seen {
				missing = append(missing, what)
			}
		}
	}
	slices.Sort(missing)
	return missing
}

func TestDocumentHasTheRoutes(t *testing.T) {
	documented, served := apitest.New(t, nil).Routes(), httpapi.Routes()
	if len(served) < 50 {
		t.Fatalf("the router has only %v", served)
	}
	for _, r := range served {
		if !slices.Contains(documented, r) {
			t.Errorf("served and not in the document: %s", r)
		}
	}
	for _, r := range documented {
		if !slices.Contains(served, r) {
			t.Errorf("in the document and not served: %s", r)
		}
	}
}

func TestDocumentIsServed(t *testing.T) {
	srv := serve(t, newWorld(t))
	res, body := request(t, "GET", srv.URL+"/openapi.json", admin)
	if res.StatusCode != 200 || !strings.Contains(body, `"openapi": "3.1.0"`) {
		t.Errorf("GET /openapi.json = %d %.100s", res.StatusCode, body)
	}
	res, body = send(t, "GET", srv.URL+"/openapi.json", admin, "", map[string]string{"If-None-Match": res.Header.Get("ETag")})
	if res.StatusCode != 304 || body != "" {
		t.Errorf("with its ETag = %d %.100s", res.StatusCode, body)
	}
	if res, _ := request(t, "GET", srv.URL+"/openapi.json", ""); res.StatusCode != 401 {
		t.Errorf("without a key = %d", res.StatusCode)
	}
}
