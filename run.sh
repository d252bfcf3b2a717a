#!/usr/bin/env bash
# The recipe: a large speaker-verification network (teacher) into a small one (student). `./run.sh --help` lists the options.
set -euo pipefail
{ # read to its end before anything runs: an edit or a pull during a run changes nothing for it

corpus=minivox
train=
test=
trials=
train_cuts=
test_cuts=
voxceleb1=
voxceleb2=
voxceleb_trials=
voxceleb_options=
teacher=own
teacher_speakers=
teacher_weights=
methods=none,kd,imlkd
classes=speakers
conf=
data=data
exp=exp
stage=0
stop_stage=7
nj=
nproc=1
ngpu=0
nodes=
cmd=
relevance_set=
student_model=
init_from_teacher=false
share_head=false
student_set=
gate=
lm_epochs=0
bootstrap=1000
backend=cosine
lda_dim=
score_norm=none
top_k=300
calibrate=
export=
export_options=
page_audio=true
allow_pipes=false
force=false

help_message="Usage: $0 [options]      (on the built-in corpus when no option is given)
Corpus
  --corpus minivox|kaldi|voxceleb  built-in synthetic corpus, your own, VoxCeleb  (default: $corpus)
  --train DIR                Kaldi data directory with speaker labels        (with --corpus kaldi)
  --test DIR[,DIR...]        Kaldi data directories of other speakers
  --trials FILE[,FILE...]    lists 'enroll test target|nontarget', each in its test directory
  --train-cuts FILE          the same as Lhotse cuts (.jsonl.gz) instead of --train
  --test-cuts FILE[,FILE...] ... instead of --test; each list lies beside its cuts
  --voxceleb1 PATH[,PATH...]  VoxCeleb1: folders, Kaldi directories or lists  (with --corpus voxceleb)
  --voxceleb2 PATH[,PATH...]  VoxCeleb2, which is trained on then
  --voxceleb-trials FILE[,FILE...]  lists over VoxCeleb1: O, and with VoxCeleb2 E and H
  --voxceleb-options 'O V ...'  further options of egs/voxceleb/prepare.sh, e.g. '--allow-partial true --convert-to DIR'
  --allow-pipes true|false   run commands that wav.scp holds                 (default: $allow_pipes)
Models
  --teacher NAME             own: train one here; resemblyzer: import the published one; speechbrain:DIR, wespeaker:DIR,
                             3dspeaker:FILE, torchaudio:FILE, onnx:FILE: import these weights; model:DIR: one trained
                             here; several of these with commas between are averaged; xvectors:F.scp: embeddings
                             that are there already                          (default: $teacher)
  --classes KIND             what posteriors are over: speakers; recordings; clusters:K of the teacher's embeddings,
                             for audio without labels                        (default: $classes)
  --teacher-weights FILE     weights of the published one   (default: those of its installed package)
  --teacher-speakers FILE    whom an imported teacher was trained on, one a line: test sets with them are refused
  --methods NAME[,NAME...]   of imlkd methods; NAME+NAME together            (default: $methods)
  --conf DIR                 YAML files                                      (default: egs/CORPUS/conf)
  --relevance-set 'K=V ...'  override keys of relevance.yaml, e.g. 'nodes=8 segments.durations=[2.0]'
  --student-model NAME       tdnn, ecapa, xvector, resnet, campplus, redimnet or nexttdnn  (default: that of student.yaml)
  --init-from-teacher true|false  first weights of students: the teacher's where name and shape fit (default: $init_from_teacher)
  --share-head true|false    class weights of students: the teacher's, frozen (default: $share_head)
  --gate NAME                integrated input: soft, tf, top, add, del, path, perm, energy, id (default: that of student.yaml)
  --student-set 'K=V ...'    override keys of student.yaml, e.g. 'training.epochs=10'
  --lm-epochs N              then fine-tune each student with a large margin, into a folder of its own (default: $lm_epochs)
Scores
  --backend cosine|plda      what compares embeddings; PLDA: fitted on the students' training set  (default: $backend)
  --lda-dim N                reduce to N dimensions before PLDA
  --score-norm NAME          none, z, t, s, as: normalise by the mean embeddings of the training speakers (default: $score_norm)
  --top-k N                  of them count in --score-norm as                (default: $top_k)
  --calibrate SET/LIST       fit a calibration of each model on this list, and make the scores of the others
                             log-likelihood ratios; no speaker of SET may be in them
Export and page (stage 7)
  --export FORMAT[,FORMAT...]  of every student: onnx, fp16, int8, features, safetensors, torchscript
  --export-options 'O V ...'   further options of local/export.sh, e.g. '--max-loss 10% --licence CC-BY-4.0'
  --page-audio true|false      put clips of the test sets into the students' pages  (default: $page_audio)
Where and how
  --data DIR, --exp DIR      where prepared data and results go              (default: $data, $exp)
  --stage N, --stop-stage M  first and last stage to run                     (default: $stage, $stop_stage)
       0 corpus, 1 features and speech activity, 2 teacher, 3 explain, 4 distil, 5 embeddings, 6 scores, 7 report
  --nj N                     parallel jobs                                   (default: number of cores)
  --nproc N                  processes of each machine that train one model  (default: $nproc)
  --ngpu N                   GPUs of each machine that train one model, a process each, 0: CPU (default: $ngpu)
  --nodes N                  machines that train one model, through --cmd slurm.pl or inside a Slurm job (default:
                             those of the Slurm job, or this one)
  --cmd CMD                  job runner for all work                         (default: those of cmd.sh)
  --bootstrap N              draws of speakers for the intervals             (default: $bootstrap)
  --force true|false         redo the stages even when they are up to date   (default: $force)
Environment: IMLKD_PYTHON=/path/to/python uses an environment of your own instead of .venv."

if ! [ -f ./path.sh ] || ! [ -d ./local ]; then
  echo "$0: run this from the folder it lies in: cd '$(dirname "$0")'" >&2
  exit 1
fi
. utils/parse_options.sh
[ $# -eq 0 ] || { echo "$0: unexpected argument '$1': see $0 --help" >&2; exit 1; }
at="the set-up"
trap 'trap "" INT; echo "$0: interrupted in $at: run the same command again to go on" >&2; exit 130' INT
. ./path.sh
. ./cmd.sh

conf=${conf:-egs/$corpus/conf}
nj=${nj:-$(nproc)}
command_line=$0   # for the record: all options that shape the result, typed or not
for option in corpus train test trials train_cuts test_cuts voxceleb1 voxceleb2 voxceleb_trials voxceleb_options teacher \
  teacher_weights teacher_speakers methods conf relevance_set student_model student_set bootstrap data exp; do
  value=${!option}
  [[ $value =~ ^[A-Za-z0-9_.,:/=+-]*$ ]] || value=${value@Q}
  [ -z "$value" ] || command_line+=" --${option//_/-} $value"
done

if [ "$backend $score_norm" != "cosine none" ]; then
  command_line+=" --backend $backend${lda_dim:+ --lda-dim $lda_dim} --score-norm $score_norm --top-k $top_k"
fi

command_line+=${calibrate:+ --calibrate $calibrate}${gate:+ --gate $gate}
[ "$classes" = speakers ] || command_line+=" --classes $classes"
[ "$init_from_teacher" = false ] || command_line+=" --init-from-teacher true"
[ "$share_head" = false ] || command_line+=" --share-head true"
[ "$lm_epochs" = 0 ] || command_line+=" --lm-epochs $lm_epochs"

log() { echo "$(date '+%H:%M:%S') $*"; }
wanted() { at="stage $1" && [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }

case $teacher in  # KIND:PATH names both
  *,*) ;; # several, averaged
  *:*) teacher_weights=${teacher#*:}; teacher=${teacher%%:*} ;;
esac
[ "$init_from_teacher" = false ] || student_set="start=teacher $student_set"
[ "$share_head" = false ] || student_set="head=teacher $student_set"
student_set="${student_model:+model=$student_model }${gate:+gate.kind=$gate }$student_set"

imlkd recipe check --corpus "$corpus" --stage "$stage" --stop-stage "$stop_stage" --nj "$nj" \
  --teacher "$teacher" --methods "$methods" --conf "$conf" --exp "$exp" --data "$data" --bootstrap "$bootstrap" \
  --own-data "$train$test$trials$train_cuts$test_cuts" --voxceleb "$voxceleb1$voxceleb2$voxceleb_trials$voxceleb_options" \
  --teacher-weights "$teacher_weights" --classes "$classes" --relevance-set "$relevance_set" --student-set "$student_set" \
  --backend "$backend" --score-norm "$score_norm" --top-k "$top_k" --lda-dim "$lda_dim" --export "$export" \
  --ngpu "$ngpu" --nproc "$nproc" --nodes "$nodes" --cmd "$train_cmd"
exec 8>"$exp/.lock"
flock -n 8 || { echo "$0: another run is at work in $exp: wait for it, or choose another --exp" >&2; exit 1; }
# Runs with an --exp of their own may share the data: one prepares them, the others wait here.
exec 7>"$data/.lock"
flock -n 7 || { log "another run prepares $data: waiting for it"; flock 7; }

if wanted 0; then
  log "stage 0: corpus $corpus"
  case $corpus in
    minivox) egs/minivox/prepare.sh --nj "$nj" --conf "$conf" --force "$force" "$data" ;;
    kaldi)
      egs/kaldi/prepare.sh --nj "$nj" --conf "$conf" --force "$force" --allow-pipes "$allow_pipes" \
        --train "$train" --test "$test" --trials "$trials" --train-cuts "$train_cuts" --test-cuts "$test_cuts" "$data"
      ;;
    voxceleb)
      mapfile -t more < <(xargs -r -n 1 printf '%s\n' <<< "$voxceleb_options") # quotes hold a path with blanks together
      egs/voxceleb/prepare.sh --nj "$nj" --conf "$conf" --force "$force" --trials "$voxceleb_trials" \
        --allow-pipes "$allow_pipes" --teacher-speakers "$teacher_speakers" "${more[@]}" \
        "$voxceleb1${voxceleb2:+${voxceleb1:+,}$voxceleb2}" "$data"
      ;;
  esac
fi
# The sets that stage 0 made, and trial lists as SET/LIST.
train_set="" teacher_set="" test_sets="" lists=""
sets=$(imlkd recipe sets "$data/$corpus.sets.yaml")
eval "$sets"
teacher_dir="" labelled_dir="" student_prefix="" students=() # labelled: where a teacher of one's own is trained on labels
folders=$(imlkd recipe folders --corpus "$corpus" --teacher "$teacher" --classes "$classes" --methods "$methods" \
  --lm-epochs "$lm_epochs" --exp "$exp")
eval "$folders"
targets=$teacher_dir/targets_$train_set
read -r -a all_lists <<< "$lists"
read -r -a all_test_sets <<< "$test_sets"
imlkd recipe check-speakers --teacher "$teacher" --teacher-speakers "$teacher_speakers" "$data" "$teacher_set" \
  "${all_test_sets[@]}"
embedded=$test_sets
if [ "$backend $score_norm" != "cosine none" ]; then
  imlkd recipe check-cohort "$data/$train_set/spk2utt" --backend "$backend" --score-norm "$score_norm" \
    --top-k "$top_k" --lda-dim "$lda_dim"
  embedded+=" $train_set"
fi
if [ -n "$calibrate" ] && [[ " $lists " != *" $calibrate "* ]]; then
  echo "$0: --calibrate $calibrate: the lists of $corpus are: $lists" >&2
  exit 1
fi

if wanted 1; then
  log "stage 1: features and speech activity"
  for set in $(printf '%s\n' "$teacher_set" "$train_set" | sort -u); do
    local/features.sh --nj "$nj" --cmd "$extract_cmd" --conf "$conf/features.yaml" --allow-pipes "$allow_pipes" \
      --force "$force" "$data/$set"
  done
fi

exec 7>&-

if wanted 2; then
  log "stage 2: teacher $teacher"
  if [ "$teacher" = own ] || [ "$classes" = speakers ]; then
    set=$teacher_set
    [ "$teacher" != xvectors ] || set=$train_set # nobody has asked for embeddings of more
    local/teacher.sh --nproc "$nproc" --ngpu "$ngpu" --nodes "$nodes" --cmd "$train_cmd" --teacher "$teacher" --weights "$teacher_weights" \
      --conf "$conf" --allow-pipes "$allow_pipes" --force "$force" "$data/$set" "$labelled_dir"
  fi
  if [ "$classes" != speakers ]; then
    named=$teacher weights=$teacher_weights
    [ "$teacher" != own ] || { named=model weights=$labelled_dir; }
    local/classes.sh --cmd "$train_cmd" --weights "$weights" --classes "$classes" --allow-pipes "$allow_pipes" \
      --force "$force" "$named" "$data/$train_set" "$teacher_dir"
  fi
fi

if wanted 3; then
  log "stage 3: explain $train_set by $teacher"
  local/explain.sh --nj "$nj" --cmd "$extract_cmd" --conf "$conf/relevance.yaml" --set "$relevance_set" \
    --allow-pipes "$allow_pipes" --force "$force" "$teacher_dir" "$data/$train_set" "$targets"
fi

if wanted 4; then
  log "stage 4: distil ${methods//,/, }"
  local/distil.sh --lm-epochs "$lm_epochs" --nj "$nj" --nproc "$nproc" --ngpu "$ngpu" --nodes "$nodes" --cmd "$train_cmd" --conf "$conf" \
    --set "$student_set" --allow-pipes "$allow_pipes" --force "$force" \
    "$methods" "$data/$train_set" "$targets" "$student_prefix"
fi

scored=("$teacher_dir" "${students[@]}") teacher_scored=true
if [ "$teacher" = xvectors ] && [ "$stop_stage" -ge 5 ]; then # a table may have nothing of the test sets
  read -r -a all_embedded <<< "$embedded"
  status=0
  imlkd model covers "$teacher_dir" "${all_embedded[@]/#/$data/}" || status=$?
  case $status in
    0) ;;
    3) scored=("${students[@]}") teacher_scored=false ;;
    *) exit $status ;;
  esac
fi

if wanted 5; then
  log "stage 5: embeddings"
  for model in "${scored[@]}"; do
    for set in $embedded; do
      local/embed.sh --nj "$nj" --cmd "$extract_cmd" --allow-pipes "$allow_pipes" --force "$force" \
        "$model" "$data/$set" "$model/xvectors_$set"
    done
  done
fi

if wanted 6; then
  log "stage 6: scores"
  for model in "${scored[@]}"; do
    local/score.sh --cmd "$score_cmd" --bootstrap "$bootstrap" --backend "$backend" --lda-dim "$lda_dim" \
      --score-norm "$score_norm" --cohort "$train_set" --top-k "$top_k" --calibrate "$calibrate" --force "$force" \
      "$model" "$data" "${all_lists[@]}"
  done
fi

if wanted 7; then
  log "stage 7: report"
  local/report.sh --command "$command_line" --force "$force" "$data/$corpus.sets.yaml" "$data" "$exp" \
    "${scored[@]}"
  read -r -a more <<< "$export_options"
  if [ -n "$export" ]; then
    for model in "${students[@]}"; do
      local/export.sh --format "$export" --bootstrap "$bootstrap" --allow-pipes "$allow_pipes" --force "$force" \
        "${more[@]}" "$data/$corpus.sets.yaml" "$model"
    done
  fi
  local/page.sh --command "$command_line" --bootstrap "$bootstrap" --audio "$page_audio" \
    --teacher-scored "$teacher_scored" --allow-pipes "$allow_pipes" --force "$force" \
    "$data/$corpus.sets.yaml" "$data" "$exp" "$teacher_dir" "${students[@]}"
fi
log "done"
exit 0
}
