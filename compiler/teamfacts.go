package compiler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"clink/topology"
)

// teamFacts are the sites as a team's rules see them, as a file of CUE: every
// field is there, with EMQX's names, server is host:port, and a credential
// written in the source is six asterisks. Of labels, those that are spoken of
// are there, empty where a site has none, so that a rule can ask for the region
// of every site.
//
// What many links have alike, such as ssl and the pool size, stands in it once,
// as a let that they embed: written out in every link, it would be most of what
// CUE has to hold.
func teamFacts(top *topology.Topology, spoken map[string]bool) ([]byte, error) {
	w := factsWriter{lets: map[string]string{}, spoken: spoken}
	w.sites.WriteString("sites: {")
	for _, name := range top.Names() {
		w.label(name)
		if err := w.site(top.Sites[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	w.sites.WriteString("}\n")
	return append(w.head.Bytes(), w.sites.Bytes()...), nil
}

// A factsWriter writes a file of facts: the lets in head, and the sites.
type factsWriter struct {
	head, sites bytes.Buffer
	lets        map[string]string // names by text
	spoken      map[string]bool   // labels
}

// What JSON leaves out of a link, a listener and an ssl block.
var (
	absentInLink = fields{
		"username": json.RawMessage(`""`), "password": json.RawMessage(`""`), "password_hash": json.RawMessage(`""`), "export": json.RawMessage(`[]`), "inbound": json.RawMessage(`{}`),
		"queue": json.RawMessage(`{}`), "retained": json.RawMessage(`false`), "tcp_opts": json.RawMessage(`{}`),
	}
	absentInListener = fields{
		"advertise": json.RawMessage(`[]`), "mountpoint": json.RawMessage(`""`), "max_connections": json.RawMessage(`0`),
		"max_conn_rate": json.RawMessage(`"infinity"`), "messages_rate": json.RawMessage(`"infinity"`), "bytes_rate": json.RawMessage(`"infinity"`),
		"proxy_protocol": json.RawMessage(`false`), "proxy_protocol_timeout": json.RawMessage(`"3s"`), "peer_cert_as_username": json.RawMessage(`""`),
	}
	absentInSSL = fields{
		"cacertfile": json.RawMessage(`""`), "certfile": json.RawMessage(`""`), "keyfile": json.RawMessage(`""`), "password": json.RawMessage(`""`), "server_name_indication": json.RawMessage(`""`), "fail_if_no_peer_cert": json.RawMessage(`false`),
	}
)

// ownFields are those that differ from link to link, or listener to listener.
var ownFields = map[string]bool{
	"name": true, "peer": true, "server": true, "clientid": true, "username": true, "password": true, "password_hash": true, "topics": true,
	"bind": true, "advertise": true,
}

func (w *factsWriter) site(s *topology.Site) error {
	w.sites.WriteString("{")
	w.label("links")
	w.sites.WriteString("{")
	for _, l := range s.Links {
		more := map[string]any{"peer": l.Name}
		if l.Address != "" {
			more["server"] = l.Address
		}
		w.label(l.Name)
		if err := w.block(l, absentInLink, more); err != nil {
			return err
		}
	}
	w.sites.WriteString("},")
	w.label("listeners")
	w.sites.WriteString("{")
	for _, l := range s.Listeners {
		w.label(l.Name)
		if err := w.block(l, absentInListener, nil); err != nil {
			return err
		}
	}
	w.sites.WriteString("},")
	mqtt, err := json.Marshal(s.MQTT)
	if err != nil {
		return err
	}
	w.label("mqtt")
	w.sites.WriteString(w.shared(string(mqtt)) + ",")
	labels := map[string]string{}
	for name := range w.spoken {
		labels[name] = ""
	}
	maps.Copy(labels, s.Labels)
	rest := map[string]any{
		"name": s.Name, "labels": labels, "host": s.Host,
		"target": map[string]any{"kind": s.Target.Kind, "version": s.Target.Version, "nodes": s.Target.Nodes},
		"access": map[string]any{"anonymous": s.Access.Anonymous},
		"intent": map[string]any{"publishes": texts(s.Intent.Publishes), "subscribes": texts(s.Intent.Subscribes)},
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		text, err := json.Marshal(rest[name])
		if err != nil {
			return err
		}
		w.label(name)
		w.sites.Write(text)
		w.sites.WriteString(",")
	}
	w.sites.WriteString("},")
	return nil
}

// block writes a link or a listener.
func (w *factsWriter) block(v any, absent fields, more map[string]any) error {
	f, err := fieldsOf(v, absent)
	if err != nil {
		return err
	}
	if ssl, ok := f["ssl"]; ok {
		whole, err := fieldsOf(ssl, absentInSSL)
		if err != nil {
			return err
		}
		if f["ssl"], err = json.Marshal(whole); err != nil {
			return err
		}
	}
	for name, x := range more {
		if f[name], err = json.Marshal(x); err != nil {
			return err
		}
	}
	w.sites.WriteString("{")
	alike := []byte("{")
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if ownFields[name] {
			w.label(name)
			w.sites.Write(f[name])
			w.sites.WriteString(",")
			continue
		}
		text := string(f[name])
		if text[0] == '{' {
			text = w.shared(text) // which CUE evaluates once
		}
		alike = fmt.Appendf(alike, "%q:%s,", name, text)
	}
	w.sites.WriteString(w.shared(string(alike) + "}"))
	w.sites.WriteString("},")
	return nil
}

// shared is the name of the let that says what text does.
func (w *factsWriter) shared(text string) string {
	name, ok := w.lets[text]
	if !ok {
		name = fmt.Sprintf("_S%d", len(w.lets))
		w.lets[text] = name
		fmt.Fprintf(&w.head, "let %s = %s\n", name, text)
	}
	return name
}

func (w *factsWriter) label(name string) {
	text, _ := json.Marshal(name) // a string has a form
	w.sites.Write(text)
	w.sites.WriteString(":")
}

// fields are those of a struct in JSON, which is CUE.
type fields map[string]json.RawMessage

// fieldsOf are the fields of a value, with what JSON leaves out.
func fieldsOf(v any, absent fields) (fields, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	f := maps.Clone(absent)
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	return f, nil
}

func texts[T ~string](l []T) []string {
	out := []string{}
	for _, x := range l {
		out = append(out, string(x))
	}
	return out
}
