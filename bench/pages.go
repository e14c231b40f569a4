package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// What stands between these lines of a page, a run with -write replaces.
const (
	figuresBegin = "<!-- figures -->\n"
	figuresEnd   = "<!-- /figures -->\n"
)

// pictureFile is the plot that the pages show.
const pictureFile = "bench/link.svg"

//go:embed figures.md.tmpl figures.zh.md.tmpl
var pageTemplates embed.FS

// pages are the files with figures, and the template of each; without one, it
// has all tables.
var pages = map[string]string{
	"README.md":       "figures.md.tmpl",
	"README.zh.md":    "figures.zh.md.tmpl",
	"bench/README.md": "",
}

// readPages reads them below root, and makes sure that each has one place for
// its figures.
func readPages(root string) (map[string]string, error) {
	texts := map[string]string{}
	for name := range pages {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return nil, fmt.Errorf("-write is for the top directory of a checkout: %w", err)
		}
		text := string(b)
		if strings.Count(text, figuresBegin) != 1 || strings.Count(text, figuresEnd) != 1 || strings.Index(text, figuresBegin) > strings.Index(text, figuresEnd) {
			return nil, fmt.Errorf("%s needs one line %q, and one %q behind it", name, strings.TrimSpace(figuresBegin), strings.TrimSpace(figuresEnd))
		}
		texts[name] = text
	}
	return texts, nil
}

// writePages writes the figures into the pages, and the picture; nothing if
// there is something amiss.
func (out *outcome) writePages(root string) error {
	texts, err := readPages(root)
	if err != nil {
		return err
	}
	for name, text := range texts {
		figures, err := out.figuresFor(pages[name])
		if err != nil {
			return err
		}
		before, rest, _ := strings.Cut(text, figuresBegin)
		_, after, _ := strings.Cut(rest, figuresEnd)
		texts[name] = before + figuresBegin + figures + figuresEnd + after
	}
	texts[pictureFile] = string(out.plot())
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(name)), []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}

func (out *outcome) figuresFor(name string) (string, error) {
	var b bytes.Buffer
	if name == "" {
		fmt.Fprintf(&b, "![All targets and what was measured](link.svg)\n")
		out.tables(&b)
		return b.String(), nil
	}
	t, err := template.New(name).Funcs(out.figureFuncs()).ParseFS(pageTemplates, name)
	if err == nil {
		err = t.Execute(&b, nil)
	}
	if err != nil {
		return "", fmt.Errorf("write the figures: %w", err)
	}
	return b.String(), nil
}

var errNotWhole = errors.New("was not measured: -write takes a whole run beside mosquitto")

// figureFuncs are what the templates may ask for.
func (out *outcome) figureFuncs() template.FuncMap {
	return template.FuncMap{
		"mosquitto": func() string { return out.Machine.Mosquitto },
		"machine":   func() machine { return out.Machine },
		"rounds":    func() int { return out.Settings.Rounds },
		"cut":       func() string { return durationText(out.Settings.Cut) },
		"ratio":     out.ratioFigure,
		"sent":      func() (string, error) { return out.cutSum("ours", func(r cutRun) uint64 { return r.Sent }) },
		"lost":      func(who string) (string, error) { return out.cutSum(who, func(r cutRun) uint64 { return r.Lost }) },
		"first":     out.firstFigure,
		"routes":    func() (string, error) { c, err := out.firstRoutes(kindExact); return grouped(c.Routes), err },
		"bootstrap": func() (string, error) {
			c, err := out.firstRoutes(kindExact)
			return fmt.Sprintf("%.2f s", middle(c.of(bootstrapOf))), err
		},
		"route": func(kind string) (string, error) {
			c, err := out.firstRoutes(kind)
			return fmt.Sprintf("%.0f B", middle(c.of(farHeapOf))), err
		},
		"client": out.clientFigure,
	}
}

// middle is the median, or 0 of nothing.
func middle(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	return median(xs)
}

func (out *outcome) ratioFigure(what string, qos, size, rate int) (string, error) {
	l := load{QoS: qos, Size: size, Rate: rate}
	xs := out.flow(l, map[string]figure{"rate": rateOf, "cpu": cpuOf, "p99": p99Of}[what])
	if len(xs) == 0 {
		return "", fmt.Errorf("%v %w", l, errNotWhole)
	}
	return fmt.Sprintf("%.2f", median(xs)), nil
}

func (out *outcome) cutsOf(who string) (cutCase, error) {
	name := map[string]string{"ours": ourName, "raised": peerRaised, "default": peerDefault}[who]
	for _, c := range out.Cuts {
		if c.Name == name {
			return c, nil
		}
	}
	return cutCase{}, fmt.Errorf("a cut of %s %w", name, errNotWhole)
}

func (out *outcome) cutSum(who string, f func(cutRun) uint64) (string, error) {
	c, err := out.cutsOf(who)
	sum := uint64(0)
	for _, r := range c.Runs {
		sum += f(r)
	}
	return grouped(int(sum)), err
}

func (out *outcome) firstFigure(who string) (string, error) {
	c, err := out.cutsOf(who)
	xs := c.times(func(r cutRun) time.Duration { return r.First })
	return fmt.Sprintf("%.2f s", middle(xs)), err
}

func (out *outcome) firstRoutes(kind string) (routeCase, error) {
	for _, c := range out.Routes {
		if c.Kind == kind {
			return c, nil
		}
	}
	return routeCase{}, fmt.Errorf("a number of %s routes %w", kind, errNotWhole)
}

func (out *outcome) clientFigure(who string) (string, error) {
	name := map[string]string{"ours": ourName, "peer": peerRaised}[who]
	for _, c := range out.Clients {
		if c.Name == name {
			return kib(c.each(func(m memory) float64 { return m.RSS })), nil
		}
	}
	return "", fmt.Errorf("an idle client of %s %w", name, errNotWhole)
}
