// Package apitest holds requests to clinkd's API, and its answers, against the
// OpenAPI document: for tests, and imported by nothing else.
//
// What the document does not have is a failure of the test: a path, a
// parameter, a body that was taken, a status, a header, a field of an answer.
package apitest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"clink/httpapi"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A Checker holds requests and answers against the document.
type Checker struct {
	t    testing.TB
	seen func(string)
	*document
}

// A document is the OpenAPI document, and what of it was compiled.
type document struct {
	doc map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

// For returns the Checker with reports to t.
func (c *Checker) For(t testing.TB) *Checker { return &Checker{t, c.seen, c.document} }

const docURL = "api:///openapi.json"

// New returns a Checker that reports to t. seen, if not nil, is told of each
// operation and status that was met, such as "GET /cluster/links 200".
func New(t testing.TB, seen func(string)) *Checker {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(httpapi.Document()))
	if err != nil {
		t.Fatalf("the OpenAPI document: %v", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(docURL, doc); err != nil {
		t.Fatalf("the OpenAPI document: %v", err)
	}
	root, ok := doc.(map[string]any)
	if !ok {
		t.Fatal("the OpenAPI document is no object")
	}
	if seen == nil {
		seen = func(string) {}
	}
	return &Checker{t, seen, &document{doc: root, compiler: c, schemas: map[string]*jsonschema.Schema{}}}
}

// Operations returns the operations of the document with the statuses that it
// has for them, such as "GET /cluster/links 200", in order.
func (c *Checker) Operations() []string {
	var list []string
	for path := range object(c.doc, "paths") {
		item, _ := c.resolve(object(c.doc, "paths", path), "")
		for _, method := range methods {
			for status := range object(item, strings.ToLower(method), "responses") {
				list = append(list, method+" "+path+" "+status)
			}
		}
	}
	slices.Sort(list)
	return list
}

// Routes returns each method and path that the document has, with its
// servers, such as "GET /api/v5/sites", in order.
func (c *Checker) Routes() []string {
	var list []string
	for path := range object(c.doc, "paths") {
		item, _ := c.resolve(object(c.doc, "paths", path), "")
		for _, method := range methods {
			if _, ok := item[strings.ToLower(method)]; !ok {
				continue
			}
			for _, base := range c.bases(item) {
				list = append(list, method+" "+base+path)
			}
		}
	}
	slices.Sort(list)
	return list
}

// Handler checks what goes in and out of next. A body that next does not look at
// says nothing (HTTP gives one with GET or DELETE no meaning), and is taken for
// none.
func (c *Checker) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			body = nil
		}
		seen := &watched{Reader: io.MultiReader(bytes.NewReader(body), failing{err})}
		r.Body = io.NopCloser(seen)
		tee := &tee{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			if !seen.read {
				body = nil
			}
			c.check(r, body, tee.status, w.Header(), tee.body.Bytes())
		}()
		next.ServeHTTP(tee, r)
	})
}

// watched knows whether anybody has looked at it.
type watched struct {
	io.Reader
	read bool
}

func (w *watched) Read(b []byte) (int, error) {
	w.read = true
	return w.Reader.Read(b)
}

// failing ends a body as it ended, with err or well.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

type tee struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *tee) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *tee) Write(b []byte) (int, error) {
	w.body.Write(b)
	return w.ResponseWriter.Write(b)
}

func (w *tee) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Transport checks what goes over base, nil for the default one. The body of a
// stream is not looked at.
func (c *Checker) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return transport{c, base}
}

type transport struct {
	*Checker
	base http.RoundTripper
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	res, err := t.base.RoundTrip(r)
	if err != nil || strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return res, err
	}
	got, err := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(got))
	if err == nil {
		t.check(r, sent, res.StatusCode, res.Header, got)
	}
	return res, err
}

// check reports where one exchange and the document differ.
func (c *Checker) check(r *http.Request, sent []byte, status int, h http.Header, got []byte) {
	c.t.Helper()
	if err := c.exchange(r, sent, status, h, got); err != nil {
		c.t.Errorf("%s %s, answered %d, is not as the OpenAPI document says: %v\nsent %.500s\ngot %.2000s", r.Method, r.URL, status, err, sent, got)
	}
}

func (c *Checker) exchange(r *http.Request, sent []byte, status int, h http.Header, got []byte) error {
	if h.Get("X-Request-Id") == "" {
		return fmt.Errorf("no X-Request-Id")
	}
	op, ok := c.find(r)
	if !ok {
		// What is not there is refused, for whatever reason comes first.
		if status < 400 {
			return fmt.Errorf("the document has no such operation")
		}
		return c.schema(docURL+"#/components/schemas/Error", got)
	}
	c.seen(fmt.Sprintf("%s %s %d", op.method, op.path, status))
	if status < 400 {
		if err := c.request(op, r, sent); err != nil {
			return err
		}
	}
	answer, at := c.resolve(object(op.what, "responses", fmt.Sprint(status)), op.at+"/responses/"+fmt.Sprint(status))
	if answer == nil {
		return fmt.Errorf("the document has no such status")
	}
	return c.answer(answer, at, r.Method, h, got)
}

// answer checks an answer's headers and body.
func (c *Checker) answer(answer map[string]any, at, method string, h http.Header, got []byte) error {
	for name := range object(answer, "headers") {
		head, _ := c.resolve(object(answer, "headers", name), "")
		if head["required"] == true && h.Get(name) == "" {
			return fmt.Errorf("no header %s", name)
		}
	}
	content := object(answer, "content")
	if len(content) == 0 {
		if len(got) > 0 {
			return fmt.Errorf("the document has no body here")
		}
		return nil
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if _, ok := content[kind]; !ok {
		return fmt.Errorf("the content type is %q, not one of %v", kind, slices.Collect(maps.Keys(content)))
	}
	if kind != "application/json" || method == http.MethodHead {
		return nil
	}
	return c.schema(at+"/content/"+escape(kind)+"/schema", got)
}

// request checks a request that was not refused.
func (c *Checker) request(op operation, r *http.Request, sent []byte) error {
	if op.method != http.MethodGet { // which passes over what it does not know
		if err := c.parameters(op, r.URL.Query()); err != nil {
			return err
		}
	}
	content := object(op.what, "requestBody", "content")
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch {
	case len(content) == 0 && len(sent) > 0:
		return fmt.Errorf("the document has no body here, and one was taken")
	case len(content) == 0:
		return nil
	case content[kind] == nil:
		return fmt.Errorf("a body of type %q was taken", kind)
	}
	return c.schema(op.at+"/requestBody/content/"+escape(kind)+"/schema", sent)
}

// parameters checks the query; the parameters that clink has are true or
// false, or not in the query.
func (c *Checker) parameters(op operation, q url.Values) error {
	known := map[string]bool{}
	list, _ := op.what["parameters"].([]any)
	for _, p := range list {
		one, _ := p.(map[string]any)
		if one, _ = c.resolve(one, ""); one["in"] == "query" {
			known[fmt.Sprint(one["name"])] = true
		}
	}
	for name, values := range q {
		if !known[name] {
			return fmt.Errorf("the parameter %s was taken", name)
		}
		if v := values[0]; v != "true" && v != "false" {
			return fmt.Errorf("the value %q of the parameter %s was taken", v, name)
		}
	}
	return nil
}

// schema checks JSON text.
func (c *Checker) schema(at string, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.schemas[at]
	if s == nil {
		if s, err = c.compiler.Compile(at); err != nil {
			return err
		}
		c.schemas[at] = s
	}
	return s.Validate(v)
}

// Fits checks JSON text against one of the document's schemas, such as Event.
func (c *Checker) Fits(schema string, text []byte) error {
	return c.schema(docURL+"#/components/schemas/"+schema, text)
}
