package command

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// defaultAPI is where clinkd answers unless it is told otherwise.
const defaultAPI = "http://127.0.0.1:18083"

const (
	maxAnswer = 4 << 20
	maxKey    = 4 << 10
)

// An api is the REST API of one clinkd.
type api struct {
	base   string
	key    string // key:secret
	from   string // the file that it is from
	client *http.Client
}

// apiOf is the clinkd that runs the site a trace begins at.
func (c Command) apiOf(t traced) (*api, error) {
	base, err := chooseAPI(t.apis, t.from)
	if err != nil {
		return nil, usageError{err, ""}
	}
	a := &api{base: base, client: &http.Client{Timeout: t.timeout + maxTraceTimeout}}
	if a.from = c.path(t.key); t.key == "" {
		if a.from, err = c.onlyKey(); err != nil {
			return nil, err
		}
	}
	text, err := readKey(a.from)
	if err != nil {
		return nil, fmt.Errorf("--api-key: %w", err)
	}
	a.key = text
	if t.ca != "" {
		if a.client.Transport, err = trusting(c.path(t.ca)); err != nil {
			return nil, fmt.Errorf("--api-ca: %w", err)
		}
	}
	return a, nil
}

// chooseAPI picks the address of a site's clinkd.
func chooseAPI(apis []string, site string) (string, error) {
	if len(apis) == 0 {
		return defaultAPI, nil
	}
	general := ""
	for _, text := range apis {
		name, address := "", text
		if before, after, ok := strings.Cut(text, "="); ok && !strings.Contains(before, "/") {
			name, address = before, after
		}
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return "", fmt.Errorf("--api: %q is no address such as %s, with or without SITE= in front", redacted(address), defaultAPI)
		}
		address = strings.TrimRight(address, "/")
		switch {
		case name != "" && name == site, name != "" && site == "" && len(apis) == 1:
			return address, nil
		case name == "":
			general = address
		}
	}
	switch {
	case general != "":
		return general, nil
	case site == "":
		return "", errors.New("--from says at which of the sites the probe is published")
	}
	return "", fmt.Errorf("--api names no clinkd of %s: add --api %s=URL", site, site)
}

// redacted is an address without a credential that was put into it.
func redacted(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return "…" + address[at:]
	}
	return address
}

// onlyKey finds the key of the one clinkd that keeps its data where it does by
// default.
func (c Command) onlyKey() (string, error) {
	state := c.getenv("XDG_STATE_HOME")
	if state == "" {
		state = filepath.Join(c.getenv("HOME"), ".local", "state")
	}
	found, err := filepath.Glob(filepath.Join(state, "clink", "*", "api-key"))
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", fmt.Errorf("no API key under %s: name its file with --api-key; the first lines of clinkd say where it is", filepath.Join(state, "clink"))
	case len(found) > 1:
		return "", fmt.Errorf("several API keys, of which one must be named with --api-key:\n  %s", strings.Join(found, "\n  "))
	}
	return found[0], nil
}

// readKey reads a file with one line key:secret.
func readKey(name string) (string, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(name, ":") {
		return "", errors.New("there is no such file: name the file that holds the key, not the key itself") // and do not show it
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKey))
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(text))
	if !strings.Contains(key, ":") || strings.ContainsAny(key, "\r\n") {
		return "", fmt.Errorf("%s does not hold one line key:secret", name)
	}
	return key, nil
}

// trusting trusts the certificates in a file, and the system's.
func trusting(name string) (http.RoundTripper, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", name)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

func (a *api) escaped(site string) string { return url.PathEscape(site) }

// onlySite is the site that the clinkd runs, if it is one.
func (a *api) onlySite(ctx context.Context) (string, error) {
	var sites []struct {
		Name string `json:"name"`
	}
	if err := a.ask(ctx, "GET", "/sites", nil, &sites); err != nil {
		return "", err
	}
	var l []string
	for _, s := range sites {
		l = append(l, s.Name)
	}
	if len(l) != 1 {
		return "", usageError{fmt.Errorf("--from says where the probe is published: the clinkd at %s runs %s", a.base, strings.Join(l, ", ")), ""}
	}
	return l[0], nil
}

func (a *api) post(ctx context.Context, path string, body []byte, out any) error {
	return a.ask(ctx, "POST", path, body, out)
}

// ask makes a request and reads its answer into out.
func (a *api) ask(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	name, secret, _ := strings.Cut(a.key, ":")
	req.SetBasicAuth(name, secret)
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask clinkd: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask clinkd at %s: %w", a.base, err)
	}
	if res.StatusCode != http.StatusOK {
		return a.refusal(res.StatusCode, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("what answers at %s is no clinkd: %w", a.base, err)
	}
	return nil
}

// refusal says why clinkd did not do it.
func (a *api) refusal(status int, text []byte) error {
	var e struct{ Code, Message string }
	if json.Unmarshal(text, &e) != nil || e.Message == "" {
		return fmt.Errorf("what answers at %s with %d is no clinkd", a.base, status)
	}
	switch status {
	case http.StatusUnauthorized:
		return fmt.Errorf("clinkd at %s does not know the key in %s: name the file of its key with --api-key", a.base, a.from)
	case http.StatusForbidden:
		return fmt.Errorf("the key in %s may only look: a trace needs one with the role administrator", a.from)
	}
	return fmt.Errorf("clinkd at %s answers %s: %s", a.base, e.Code, e.Message)
}
