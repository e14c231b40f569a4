package compiler

import (
	"fmt"
	"strconv"
	"strings"

	"clink/diagnostic"
	"clink/topic"
	"clink/topology"
)

// topics checks the topic filters of one link.
func (k *checker) topics(site string, l topology.Link) {
	for _, field := range [...]string{"topics", "export"} {
		texts := l.Topics
		if field == "export" {
			texts = l.Export
		}
		if k.bad.touches(linkPath(site, l.Name, field)...) {
			continue
		}
		k.filters(site, l, field, texts)
	}
}

func (k *checker) filters(site string, l topology.Link, field string, texts []topic.Filter) {
	good := make([]topic.Filter, 0, len(texts))
	places := make([]int, 0, len(texts))
	for i, t := range texts {
		f, err := topic.Parse(string(t))
		if err == nil && f.Reserved() == "" {
			good, places = append(good, f), append(places, i)
			continue
		}
		d := k.topicFinding(site, l, field, i)
		if err != nil {
			d.Rule, d.Message, d.Label = "topic-invalid", err.Error(), "no topic filter"
			d.Help = "# stands alone as the last level, + alone as a level; clinkc explain topic-invalid"
		} else {
			d.Rule, d.Label = "topic-reserved", "this filter"
			d.Message = fmt.Sprintf("%s in %s: topics under %s are never carried by a link", quoted(string(t)), field, strings.TrimSuffix(f.Reserved(), "/"))
			d.Help = reservedHelp(f)
		}
		k.add(d)
	}
	if field == "topics" {
		k.redundant(site, l, good, places)
	}
}

func reservedHelp(f topic.Filter) string {
	switch f.Reserved() {
	case "$share/":
		if parts := strings.SplitN(string(f), "/", 3); len(parts) == 3 && parts[2] != "" {
			return "name the topics themselves: " + quoted(parts[2]) + "; clients may share them on either side"
		}
	case "$LINK/":
		return "leave it out: the link opens its own control topics by itself"
	}
	return "name the topics themselves, without the prefix"
}

// redundant tells each filter that another one covers; of equal ones all but
// the last, as EMQX does.
func (k *checker) redundant(site string, l topology.Link, filters []topic.Filter, places []int) {
	for i, j := range topic.Covering(filters) {
		if j >= 0 {
			k.redundantFinding(site, l, filters[i], filters[j], places[i], places[j])
		}
	}
}

// redundantFinding tells that f is covered by g, both by their places in topics.
func (k *checker) redundantFinding(site string, l topology.Link, f, g topic.Filter, at, by int) {
	d := k.topicFinding(site, l, "topics", at)
	d.Rule, d.Label, d.Help = "topic-redundant", "this one", "leave it out"
	d.Message = fmt.Sprintf("%s is covered by %s", quoted(string(f)), quoted(string(g)))
	if f == g {
		d.Message = quoted(string(f)) + " stands twice"
	}
	d.Related = []diagnostic.Related{{Message: "by this one", Pos: k.element(site, l, "topics", by)}}
	if k.edit != nil {
		if edit, ok := k.edit.remove(at, linkPath(site, l.Name, "topics")...); ok {
			k.fixed(&d, "leave "+quoted(string(f))+" out", "removes it", edit)
		}
	}
	k.add(d)
}

func (k *checker) topicFinding(site string, l topology.Link, field string, i int) diagnostic.Diagnostic {
	link := []diagnostic.Scope{{Site: site, Peer: l.Name}}
	return diagnostic.Diagnostic{
		Severity: diagnostic.Error, Pos: k.element(site, l, field, i), Sites: []string{site}, Holds: link, Links: link,
	}
}

// element is where an element of a list stands; else the list, else the link.
func (k *checker) element(site string, l topology.Link, field string, i int) diagnostic.Pos {
	if k.at != nil {
		if p, ok := k.at(linkPath(site, l.Name, field, strconv.Itoa(i)), false); ok {
			return p
		}
	}
	return k.link(site, l.Name, field)
}

// quoted is a user's text in a message: bounded, and in one line.
func quoted(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "…"
	}
	return strconv.Quote(s)
}
