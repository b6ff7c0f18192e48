package webhook

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// review is the part of an AdmissionReview that is read, in both of its versions.
type review struct {
	metav1.TypeMeta
	Request *request `json:"request"`
}

type request struct {
	UID       types.UID               `json:"uid"`
	Kind      metav1.GroupVersionKind `json:"kind"`
	Namespace string                  `json:"namespace"`
	Operation admissionv1.Operation   `json:"operation"`
	DryRun    bool                    `json:"dryRun"`
	Object    object                  `json:"object"`
}

// object is a pod as it is decoded, in the same pass as the review around it. What nobody
// reads is passed over: the field managers, up to half of a review, and the status.
type object struct {
	metav1.TypeMeta
	Metadata objectMeta     `json:"metadata"`
	Spec     corev1.PodSpec `json:"spec"`
}

type objectMeta struct {
	metav1.ObjectMeta
	ManagedFields ignored `json:"managedFields"` // in place of the embedded field
}

// ignored takes the place of a field that is not read.
type ignored struct{}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (*ignored) UnmarshalJSONFrom(d *jsontext.Decoder) error { return d.SkipValue() }

func (o *object) pod() *corev1.Pod {
	return &corev1.Pod{TypeMeta: o.TypeMeta, ObjectMeta: o.Metadata.ObjectMeta, Spec: o.Spec}
}

// decoding is how reviews are read: as encoding/json reads them, duplicate names, invalid
// UTF-8 and null included, so that nothing which the API server sends is refused. Only the
// case of names counts, as it does for the API server.
var decoding = json.JoinOptions(jsonv1.DefaultOptionsV1(), json.MatchCaseInsensitiveNames(false))

// decode reads a review. With an error and a request in the result, body is a review whose
// object is no pod; without a request it is no review.
func decode(body []byte) (*review, error) {
	in := &review{}
	if err := json.Unmarshal(body, in, decoding); err != nil {
		return identify(body), fmt.Errorf("decode pod: %w", err)
	}
	if in.Request == nil {
		return in, errors.New("it has no request")
	}
	return in, nil
}

// identify reads what an answer needs from a review whose object cannot be decoded.
func identify(body []byte) *review {
	var in struct {
		metav1.TypeMeta
		Request struct {
			UID types.UID `json:"uid"`
		} `json:"request"`
	}
	if err := json.Unmarshal(body, &in, decoding); err != nil || in.Request.UID == "" {
		return &review{}
	}
	return &review{TypeMeta: in.TypeMeta, Request: &request{UID: in.Request.UID}}
}
