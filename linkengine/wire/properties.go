package wire

import "math"

// properties reads the map of MQTT properties. Those that do not cross, such as
// a topic alias, are passed over, and so is an atom (undefined) in place of the
// map or of a value.
func (d *recordReader) properties(p *Properties) {
	if d.AtAtom() {
		d.Skip()
		return
	}
	var seen uint
	for n := d.Map(); n > 0 && d.ok(); n-- {
		name := d.key(true)
		if d.AtAtom() {
			d.Skip()
			continue
		}
		d.property(p, name, &seen)
	}
}

func (d *recordReader) property(p *Properties, name []byte, seen *uint) {
	switch string(name) {
	case propPayloadFormat:
		d.once(seen, 1)
		p.PayloadFormat, p.HasPayloadFormat = byte(d.number(propPayloadFormat, 1)), true
	case propMessageExpiry:
		d.once(seen, 2)
		p.MessageExpiry, p.HasMessageExpiry = uint32(d.number(propMessageExpiry, math.MaxUint32)), true
	case propContentType:
		d.once(seen, 4)
		p.ContentType = d.text(propContentType)
	case propResponseTopic:
		d.once(seen, 8)
		p.ResponseTopic = d.responseTopic()
	case propCorrelationData:
		d.once(seen, 16)
		p.CorrelationData = d.correlation()
	case propUser:
		d.once(seen, 32)
		p.User = d.userProperties()
	default:
		d.Skip()
	}
}

func (d *recordReader) number(name string, highest int64) int64 {
	n := d.Int()
	if n < 0 || n > highest {
		d.malformed("%s %d", name, n)
		return 0
	}
	return n
}

func (d *recordReader) text(name string) string {
	b := d.Binary()
	if reason := textFault(b); reason != "" {
		d.malformed("%s %s", name, reason)
		return ""
	}
	return string(b)
}

// responseTopic reads the topic for an answer; an empty one counts as absent.
func (d *recordReader) responseTopic() string {
	b := d.Binary()
	if len(b) == 0 {
		return ""
	}
	if reason := topicFault(b); reason != "" {
		d.malformed("%s %s", propResponseTopic, reason)
		return ""
	}
	return string(b)
}

func (d *recordReader) correlation() []byte {
	b := d.Binary()
	if len(b) > math.MaxUint16 {
		d.malformed("%s is over 65535 bytes", propCorrelationData)
	}
	return b
}

func (d *recordReader) userProperties() []UserProperty {
	n := d.List()
	if n == 0 {
		return nil
	}
	// A property takes 12 bytes or more: what a count promises beyond that is
	// not set aside for.
	user := make([]UserProperty, 0, min(n, len(d.Bytes())/12+1))
	for range n {
		if d.Tuple() != 2 {
			d.malformed("%s holds no pair", propUser)
		}
		u := UserProperty{Key: d.text(propUser), Value: d.text(propUser)}
		if !d.ok() {
			return nil
		}
		user = append(user, u)
	}
	d.EndList(n)
	return user
}
