package webhook

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"
)

// TestDecodeAsStandard: pods with any of the API's fields are read as encoding/json reads
// them, but for what is left out.
func TestDecodeAsStandard(t *testing.T) {
	for seed := range int64(200) {
		pod := &corev1.Pod{}
		filler(seed).Fill(pod)
		checkDecode(t, encoded(t, pod))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// filler fills the fields of an object; what has a form of its own gets a valid one.
func filler(seed int64) *randfill.Filler {
	return randfill.NewWithSeed(seed).NilChance(0.5).NumElements(1, 3).MaxDepth(12).Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			forms := []string{"0", "1", "100m", "128Mi", "1e3", "0.5", "1500u", "-2Gi", "9223372036854775807"}
			*q = resource.MustParse(forms[c.Intn(len(forms))])
		},
		func(v *metav1.Time, c randfill.Continue) { v.Time = time.Unix(c.Int63n(1<<33), 0) },
		func(v *metav1.MicroTime, c randfill.Continue) { v.Time = time.UnixMicro(c.Int63n(1 << 50)) },
		func(v *metav1.FieldsV1, _ randfill.Continue) { v.SetRawString(`{"f:metadata":{}}`) },
		func(v *intstr.IntOrString, c randfill.Continue) {
			*v = intstr.FromInt32(c.Int31())
			if c.Bool() {
				*v = intstr.FromString(c.String(0))
			}
		},
	)
}

// TestDecodeOddities: what an API server does not send but encoding/json takes is taken,
// and read the same way.
func TestDecodeOddities(t *testing.T) {
	for _, object := range []string{
		`{}`, `null`,
		`{"metadata":null,"spec":null,"status":null}`,
		`{"metadata":{"name":"a","name":"b","labels":{"x":"1"},"labels":{"y":"2","x":null}}}`,
		`{"metadata":{"labels":null,"creationTimestamp":null,"deletionGracePeriodSeconds":null}}`,
		`{"metadata":{"creationTimestamp":"2026-08-01T10:00:00Z","managedFields":[{"manager":"m","fieldsV1":{"f:a":{}}}],"unknown":{"a":[1,2,{}]}}}`,
		`{"spec":{"containers":[{"name":"a"},{"name":null},null,{"env":null,"ports":[]}],"containers":[{"image":"i"}]}}`,
		`{"spec":{"containers":[{"resources":{"limits":{"cpu":1,"memory":"1Gi","x":0.5}}}],"overhead":null}}`,
		`{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":"http"}},"readinessProbe":{"tcpSocket":{"port":80}}}]}}`,
		"{\"metadata\":{\"name\":\"\xff\xfe\",\"annotations\":{\"a\xc3\":\"\\ud800\",\"b\":\"\\u0000<>&\\u2028\"}}}",
		`{"spec":{"terminationGracePeriodSeconds":9007199254740993,"priority":-1}}`,
		`{"apiVersion":"v1","kind":"Pod","extra":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`,
	} {
		checkDecode(t, []byte(object))
	}
}

// TestDecodeLeavesOut: what nobody reads is not even looked at.
func TestDecodeLeavesOut(t *testing.T) {
	in, err := decode([]byte(`{"request":{"uid":"u","object":{"metadata":{"name":"a","managedFields":7},"status":"gone"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	if diff := cmp.Diff(want, in.Request.Object.pod()); diff != "" {
		t.Errorf("the pod differs (-want +got):\n%s", diff)
	}
}

// checkDecode compares a review of the object with what encoding/json reads.
func checkDecode(t *testing.T, object []byte) {
	t.Helper()
	in, err := decode(bytes.Join([][]byte{[]byte(`{"request":{"uid":"u","object":`), object, []byte(`}}`)}, nil))
	if err != nil {
		t.Errorf("decode %.200q: %v", object, err)
		return
	}
	want := &corev1.Pod{}
	if err := json.Unmarshal(object, want); err != nil {
		t.Fatalf("encoding/json refuses %.200q: %v", object, err)
	}
	want.ManagedFields, want.Status = nil, corev1.PodStatus{}
	if diff := cmp.Diff(want, in.Request.Object.pod()); diff != "" {
		t.Errorf("decode %.200q differs (-standard +got):\n%s", object, diff)
	}
}
